// The list of conversations: new, open, search (titles and texts), rename, delete, export, import.
import {by_id, el, icon, icon_button} from "./dom.js";
import {day_group, t} from "./text.js";

const kSearchDelay = 200;  // ms after the last key
const kFold = 100;         // entries drawn at first, and more at a click
const kExcerpt = 40;       // characters before a hit

export class Sidebar {
  // actions: {create, open, rename, remove, search, export_one, export_all, import_file, settings, status}.
  constructor(actions) {
    this.actions = actions;
    this.heads = [];
    this.busy = new Set();
    this.limit = kFold;
    this.search = el("input", {type: "search", id: "search", hint: "search", label: "search", autocomplete: "off", on: {
      input: () => this.search_soon(),
      keydown: (event) => this.search_key(event),
    }});
    this.list = el("div", {class: "list", on: {keydown: (event) => this.list_key(event)}});
    const file = el("input", {type: "file", accept: ".json,application/json", hidden: true, "aria-hidden": "true", on: {change: () => {
      if (file.files[0]) actions.import_file(file.files[0]);
      file.value = "";
    }}});
    const row = (name, key, run) => el("button", {type: "button", class: "row", on: {click: run}}, icon(name), el("span", {t: key}));
    by_id("sidebar").append(
      el("div", {class: "brand"}, el("img", {src: "icon.svg", alt: ""}), el("strong", {}, "fathom"), icon_button("close", "close_list", () => actions.toggle(), "narrow-only")),
      el("button", {type: "button", class: "new", id: "new", on: {click: () => actions.create()}}, icon("plus"), el("span", {t: "new_chat"})),
      el("div", {class: "search"}, icon("search"), this.search), this.list,
      el("div", {class: "bottom"}, row("chart", "status", () => actions.status()), row("gear", "settings", () => actions.settings()),
        el("div", {class: "pair"}, row("open", "import", () => file.click()), row("save", "export_all", () => actions.export_all())), file));
  }

  // busy: ids of conversations with a running answer.
  show(heads, current, busy) {
    this.heads = heads.toSorted((a, b) => b.updated - a.updated);
    Object.assign(this, {current, busy});
    if (this.search.value.trim() === "") this.draw();
  }

  // Redrawing must not take the focus away from an entry or interrupt a renaming.
  draw() {
    if (this.list.querySelector(".rename")) return;
    const focused = document.activeElement?.closest?.(".entry")?.dataset.id;
    const nodes = [];
    let group = "";
    for (const head of this.heads.slice(0, this.limit)) {
      const name = day_group(head.updated);
      if (name !== group) nodes.push(el("h2", {}, name));
      group = name;
      nodes.push(this.entry(head));
    }
    if (this.heads.length === 0) nodes.push(el("p", {class: "none", t: "no_chats"}));
    this.put(nodes);
    if (this.heads.length > this.limit) this.list.append(el("button", {type: "button", class: "row", on: {click: () => { this.limit += 5 * kFold; this.draw(); }}}, el("span", {t: "show_more"})));
    if (focused) this.list.querySelector(`[data-id="${focused}"] .open`)?.focus();
  }

  put(nodes) {
    this.list.replaceChildren(...nodes);
    // One stop of the tab key for the list; the arrows move inside it.
    const stop = this.list.querySelector(".entry.current .open") ?? this.list.querySelector(".open");
    if (stop) stop.tabIndex = 0;
  }

  entry(head, message = null) {
    const title = head.title || t("untitled");
    const open = el("button", {type: "button", class: "open", tabindex: -1, on: {click: () => this.actions.open(head.id, message?.id)}},
      el("span", {class: "title"}, title), message && el("span", {class: "excerpt"}, ...excerpt(message.content, this.query)));
    const current = head.id === this.current && !message;
    const entry = el("div", {class: `entry ${current ? "current" : ""} ${this.busy.has(head.id) ? "busy" : ""}`}, open);
    entry.dataset.id = head.id;
    if (current) open.setAttribute("aria-current", "page");
    if (!message) entry.append(el("span", {class: "tools"}, icon_button("edit", "rename", () => this.rename(entry, head)),
      icon_button("save", "export_markdown", () => this.actions.export_one(head.id)), icon_button("trash", "delete", () => this.actions.remove(head.id))));
    return entry;
  }

  rename(entry, head) {
    const field = el("input", {class: "rename", label: "rename", maxlength: 200});
    field.value = head.title;
    let ended = false;
    const end = (keep) => {
      if (ended) return;
      ended = true;
      field.remove();
      if (keep && field.value.trim() !== "") this.actions.rename(head.id, field.value.trim());
      this.draw();
      this.list.querySelector(`[data-id="${head.id}"] .open`)?.focus();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && !event.isComposing) end(true);
      if (event.key === "Escape") end(false);
    });
    field.addEventListener("blur", () => end(true));
    entry.replaceChildren(field);
    field.select();
    field.focus();
  }

  list_key(event) {
    const entry = event.target.closest(".entry");
    if (!entry) return;
    const buttons = [...this.list.querySelectorAll(".open")];
    const at = buttons.indexOf(entry.querySelector(".open"));
    const next = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1}[event.key];
    const head = this.heads.find(({id}) => id === entry.dataset.id);
    if (next !== undefined) (buttons[next] ?? this.search).focus();
    else if (event.key === "F2") this.rename(entry, head);
    else if (event.key === "Delete") this.actions.remove(head.id);
    else return;
    event.preventDefault();
  }

  search_key(event) {
    if (event.key === "Escape") {
      this.search.value = "";
      this.draw();
      event.stopPropagation();
    }
    if (event.key === "ArrowDown") {
      this.list.querySelector(".open")?.focus();
      event.preventDefault();
    }
  }

  search_soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.run_search(), kSearchDelay);
  }

  async run_search() {
    const query = this.query = this.search.value.trim();
    if (query === "") return this.draw();
    const hits = await this.actions.search(query);
    if (query !== this.search.value.trim()) return;  // a later search is under way
    const nodes = hits.map(({head, message}) => this.entry(head, message));
    this.put(nodes.length > 0 ? nodes : [el("p", {class: "none", t: "nothing_found"})]);
  }
}

function excerpt(text, query) {
  const at = text.toLowerCase().indexOf(query.toLowerCase());
  if (at === -1) return [text.slice(0, 2 * kExcerpt)];
  const begin = Math.max(0, at - kExcerpt);
  return [(begin > 0 ? "…" : "") + text.slice(begin, at), el("mark", {}, text.slice(at, at + query.length)), text.slice(at + query.length, at + query.length + 2 * kExcerpt)];
}
