// The line above the thread, the first screen of a new conversation, and two small dialogs: the raw prompt and the keys.
import {ApiError, render_prompt} from "./api.js";
import {by_id, copy_text, el, icon, icon_button, open_dialog} from "./dom.js";
import {messages_for} from "./generation.js";
import {error_words} from "./message_view.js";
import {t} from "./text.js";

export class Bar {
  // actions: {toggle, settings, prompt, help}.
  constructor(actions) {
    this.menu = icon_button("menu", "toggle_list", actions.toggle);
    this.title = el("h1");
    this.name = el("span", {class: "name"});
    this.model = el("button", {type: "button", class: "chip", id: "model-chip", on: {click: actions.settings}}, el("span", {class: "dot"}), this.name);
    this.prompt_button = icon_button("code", "raw_prompt", actions.prompt);
    by_id("bar").append(this.menu, this.title, this.model, this.prompt_button, icon_button("help", "help", actions.help, "wide-only"));
  }

  show(title, has_messages) {
    this.title.textContent = title;
    this.prompt_button.hidden = !has_messages;
  }

  // lost: the kind of error that stands between the page and the server, or null.
  show_model(name, lost) {
    this.model.classList.toggle("lost", lost !== null);
    this.name.textContent = lost === "unauthorized" ? t("key_needed") : lost ? t("no_server") : name ?? t("no_model");
    this.model.title = this.name.textContent;
  }
}

export function welcome(use) {
  const ideas = ["idea_explain", "idea_code", "idea_write", "idea_compare"].map((key) =>
    el("button", {type: "button", class: "idea", t: key, on: {click: (event) => use(event.target.textContent)}}));
  return el("div", {class: "welcome"}, el("img", {src: "icon.svg", alt: ""}), el("h2", {t: "welcome"}), el("p", {t: "welcome_hint"}), el("div", {class: "ideas"}, ...ideas));
}

// What the model would be given to answer now.
export async function open_prompt(conversation, model) {
  const {body} = open_dialog("raw_prompt", "wide");
  const text = el("pre", {class: "raw", tabindex: 0}, "…");
  const copy = el("button", {type: "button", on: {click: () => copy_text(text.textContent, copy)}}, icon("copy"), el("span", {t: "copy"}));
  body.append(el("p", {class: "quiet", t: "raw_prompt_hint"}), text, copy);
  try {
    text.textContent = await render_prompt(model, messages_for(conversation, {parent: conversation.path().at(-1).id, content: ""}));
  } catch (error) {
    text.replaceWith(el("p", {class: "problem"}, error_words(error instanceof ApiError ? error : new ApiError("stream", error.message))));
    copy.remove();
  }
}

const kKeys = [["Enter", "key_send"], ["Shift Enter", "key_line"], ["Esc", "key_stop"], ["↑", "key_edit"], ["Ctrl K", "key_search"],
               ["Ctrl Shift O", "key_new"], ["Ctrl ,", "key_settings"], ["/", "key_write"], ["F2", "key_rename"], ["Del", "key_delete"], ["?", "key_help"]];

export function open_help() {
  const {body} = open_dialog("help", "narrow");
  body.append(el("dl", {class: "keys-list"}, ...kKeys.map(([keys, key]) =>
    el("div", {}, el("dt", {}, ...keys.split(" ").map((name) => el("kbd", {}, name))), el("dd", {t: key})))));
}
