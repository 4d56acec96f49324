// The field at the bottom: writes, sends, stops; keeps an unsent draft per conversation for as long as the tab lives.
import {by_id, el, icon, icon_button} from "./dom.js";
import {keep_tab_text, tab_text} from "./settings.js";
import {number, t} from "./text.js";

const kDraft = "fathom.draft.";
const kTight = 0.85;  // share of the context from which the bar warns

export class Composer {
  // actions: {send(text), stop(), edit_last()}.
  constructor(actions) {
    this.actions = actions;
    this.field = el("textarea", {id: "prompt", rows: 1, hint: "write", label: "write", on: {
      input: () => this.keep(),
      keydown: (event) => this.key(event),
    }});
    this.send_button = icon_button("send", "send", () => this.send(), "round primary");
    this.stop_button = el("button", {type: "button", class: "icon-button round primary", id: "stop", label: "stop", on: {click: () => actions.stop()}}, icon("stop"));
    this.fill = el("span", {class: "fill"});
    this.used = el("span", {class: "used"});
    this.meter = el("div", {class: "meter", role: "meter", label: "context", "aria-valuemin": 0}, el("span", {class: "track"}, this.fill), this.used);
    this.send_button.id = "send";
    by_id("dock").append(el("div", {class: "composer"}, this.field, this.send_button, this.stop_button),
      el("div", {class: "under"}, this.meter, el("span", {class: "keys", t: "keys_hint"})));
    this.show_running(false);
  }

  open(id) {
    this.id = id;
    this.field.value = tab_text(kDraft + id);
    this.fit();
  }

  keep() {
    keep_tab_text(kDraft + this.id, this.field.value);
    this.fit();
  }

  fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
    this.send_button.disabled = this.field.value.trim() === "";
  }

  put(text) {
    this.field.value = text;
    this.keep();
    this.field.focus();
  }

  key(event) {
    // An input method's Enter takes a candidate.
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.send();
    }
    if (event.key === "ArrowUp" && this.field.value === "") {
      event.preventDefault();
      this.actions.edit_last();
    }
  }

  send() {
    const text = this.field.value.trim();
    if (text === "" || this.running) return;
    this.field.value = "";
    this.keep();
    this.actions.send(text);
  }

  show_running(running) {
    // A focused button that goes away would leave the keyboard nowhere.
    const focused = document.activeElement === this.stop_button || document.activeElement === this.send_button;
    this.running = running;
    this.send_button.hidden = running;
    this.stop_button.hidden = !running;
    if (focused) this.field.focus();
  }

  // used: tokens of the conversation by the last answer's usage; limit 0 where the server does not say.
  show_context(used, limit) {
    this.meter.hidden = used === 0;
    const share = limit > 0 ? Math.min(1, used / limit) : 0;
    this.fill.style.width = `${share * 100}%`;
    this.fill.parentNode.hidden = limit === 0;
    this.meter.classList.toggle("tight", share > kTight);
    this.meter.ariaValueNow = used;
    this.meter.ariaValueMax = limit || used;
    this.used.textContent = limit > 0 ? t("context_of", {used: number(used), limit: number(limit)}) : t("tokens", {count: number(used)});
    this.meter.ariaValueText = this.used.textContent;
  }
}
