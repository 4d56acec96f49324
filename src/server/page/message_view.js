// One message in the thread: its text, what can be done with it, and how an answer went.
import {copy_text, el, icon, icon_button} from "./dom.js";
import {draw_markdown} from "./markdown.js";
import {number, seconds, t} from "./text.js";
import {draw_tokens} from "./token_view.js";

const kDrawEvery = 50;  // ms; drawing every chunk would make fast answers slow

export class MessageView {
  // actions: {edit, regenerate, resume, choose, start_here}(message, ..): what the buttons do.
  constructor(message, actions) {
    Object.assign(this, {message, actions});
    this.text = el("div", {class: "text"});
    this.foot = el("div", {class: "foot"});
    this.problem = el("div");
    this.node = el("li", {class: `message ${message.role}`},
      el("article", {label: message.role === "user" ? "you" : "answer"}, this.text, this.problem, this.foot));
    this.node.dataset.id = message.id;
  }

  // variants: {index, count} among the siblings.
  draw(variants) {
    this.variants = variants;
    this.draw_now();
  }

  // For a growing answer: at most every kDrawEvery ms.
  draw_soon() {
    if (this.timer) return;
    this.timer = setTimeout(() => this.draw_now(), kDrawEvery);
  }

  draw_now() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (this.editing) return;
    const {message} = this;
    const streaming = message.state === "streaming";
    this.node.classList.toggle("streaming", streaming);
    if (message.role === "user") this.text.textContent = message.content;
    else if (this.show_tokens && message.logprobs) draw_tokens(this.text, message.logprobs);
    else if (message.content === "" && streaming) this.text.replaceChildren(el("span", {class: "waiting", t: "waiting"}));
    else this.draw_answer();
    this.draw_problem();
    this.draw_foot(streaming);
  }

  draw_answer() {
    const first = this.text.firstElementChild;
    if (first?.matches(".waiting, .tokens")) first.remove();
    draw_markdown(this.text, this.message.content);
  }

  draw_problem() {
    const {state, error} = this.message;
    clearInterval(this.countdown);
    this.problem.replaceChildren();
    if (state === "stopped" || state === "length") this.problem.append(el("p", {class: "note", t: state === "length" ? "cut_by_length" : "stopped"}));
    if (state !== "error") return;
    const words = el("p", {}, error_words(error));
    const buttons = el("div", {class: "buttons"});
    const button = (key, run) => buttons.append(el("button", {type: "button", t: key, on: {click: run}}));
    if (error.kind === "unauthorized") button("enter_key", () => this.actions.settings());
    if (error.kind === "too_long") button("drop_oldest", () => this.actions.drop_oldest(this.message));
    if (this.message.content !== "") button("continue", () => this.actions.resume(this.message));
    button("try_again", () => this.actions.retry(this.message));
    this.problem.append(el("div", {class: "problem"}, icon("alert"), el("div", {}, words, buttons)));
    if (error.retry_at > Date.now()) this.countdown = setInterval(() => {
      words.textContent = error_words(error);
      if (error.retry_at <= Date.now() || !this.node.isConnected) clearInterval(this.countdown);
    }, 1000);
  }

  draw_foot(streaming) {
    const {message, actions} = this;
    const user = message.role === "user";
    // Redrawing would take the focus from a button; while an answer grows only its figures change.
    if (streaming && this.foot.dataset.streaming) {
      this.stats.replaceChildren(...stats_words(message));
      return;
    }
    const focused = this.foot.contains(document.activeElement) ? document.activeElement.dataset.tLabel : null;
    this.foot.replaceChildren();
    if (streaming) this.foot.dataset.streaming = "yes";
    else delete this.foot.dataset.streaming;
    this.stats = el("span", {class: "stats"}, ...(user ? [] : stats_words(message)));
    if (this.variants.count > 1) this.foot.append(this.variant_buttons());
    if (!streaming) {
      const copy = icon_button("copy", "copy", () => copy_text(message.content, copy));
      if (message.content !== "") this.foot.append(copy);
      if (user) this.foot.append(icon_button("edit", "edit", () => this.edit()));
      else this.foot.append(icon_button("again", "regenerate", () => actions.regenerate(message)));
      if (!user && message.content !== "") this.foot.append(icon_button("forward", "continue", () => actions.resume(message)));
      if (message.logprobs) this.foot.append(icon_button("chart", "show_tokens", () => { this.show_tokens = !this.show_tokens; this.draw_now(); }));
    }
    this.foot.append(this.stats);
    if (focused) this.foot.querySelector(`[data-t-label="${focused}"]:not([disabled])`)?.focus();
  }

  variant_buttons() {
    const {index, count} = this.variants;
    const step = (name, label, by) => {
      const button = icon_button(name, label, () => this.actions.choose(this.message, by));
      button.disabled = index + by < 0 || index + by >= count;
      return button;
    };
    return el("span", {class: "variants"}, step("left", "previous_variant", -1), el("span", {}, `${index + 1}/${count}`), step("right", "next_variant", 1));
  }

  // Turns a question into a field; sending it makes a new branch.
  edit() {
    this.editing = true;
    const field = el("textarea", {class: "edit", label: "edit", rows: 3});
    field.value = this.message.content;
    const end = () => {
      this.editing = false;
      this.foot.hidden = false;
      this.draw_now();
      this.foot.querySelector('[data-t-label="edit"]')?.focus();
    };
    const send = () => {
      const content = field.value.trim();
      if (content === "") return;
      end();
      this.actions.edit(this.message, content);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); end(); }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
    });
    this.foot.hidden = true;
    this.text.replaceChildren(field, el("div", {class: "buttons"}, el("button", {type: "button", t: "cancel", on: {click: end}}),
      el("button", {type: "button", class: "primary", t: "send", on: {click: send}})));
    field.focus();
  }
}

export function error_words(error) {
  const wait = Math.ceil((error.retry_at - Date.now()) / 1000);
  const parts = [t(error.kind === "unreachable" && !navigator.onLine ? "error_offline" : `error_${error.kind}`)];
  if (wait > 0) parts.push(t("retry_in", {seconds: number(wait)}));
  // These two never reached the server: the message is the browser's.
  if (error.message && error.kind !== "unreachable" && error.kind !== "cut") parts.push(t("server_says", {message: error.message}));
  return parts.join(" ");
}

function stats_words({stats, model}) {
  if (!stats || stats.first_token === undefined) return [];
  const usage = stats.usage;
  const cached = usage?.prompt_tokens_details?.cached_tokens;
  const words = [
    [t("tokens", {count: (usage ? "" : "≈") + number(usage?.completion_tokens ?? stats.chunks)})],
    stats.rate > 0 && [t("rate", {rate: number(stats.rate, stats.rate < 100 ? 1 : 0)})],
    [t("first_token", {time: seconds(stats.first_token)})],
    usage && [t("prompt", {count: number(usage.prompt_tokens)}) + (cached ? ` (${t("cached", {count: number(cached)})})` : "")],
    model && [model],
  ];
  return words.filter(Boolean).map(([text]) => el("span", {}, text));
}
