// Builds DOM nodes. Text only ever enters the page as text nodes and attributes: nothing here or elsewhere parses HTML.
import {t} from "./text.js";

const kSvg = "http://www.w3.org/2000/svg";

// el("button", {class: "x", t: "send", label: "send", on: {click: f}, disabled: true}, ...children).
// t and label are keys of the texts (text.js): they follow a change of language.
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [type, handler] of Object.entries(value)) node.addEventListener(type, handler);
    else if (name === "t") { node.dataset.t = value; node.textContent = t(value); }
    else if (name === "label") { node.dataset.tLabel = value; node.ariaLabel = t(value); if (tag === "button") node.title = t(value); }
    else if (name === "hint") { node.dataset.tHint = value; node.placeholder = t(value); }
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(kSvg, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const kIcons = {
  plus: "M12 5v14M5 12h14",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
  menu: "M4 7h16M4 12h16M4 17h16",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 12.5l4.5 4.5L19 7.5",
  edit: "M4 20h4L19 9l-4-4L4 16z",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  forward: "M5 5l8 7-8 7zM17 5v14",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  save: "M12 4v11M7 11l5 5 5-5M5 20h14",
  open: "M12 16V5M7 9l5-5 5 5M5 20h14",
  gear: "M4 8h9M17 8h3M15 6v4M4 16h3M11 16h9M9 14v4",
  chart: "M4 19V5M4 19h16M8 15l4-5 3 3 5-6",
  left: "M14 6l-6 6 6 6",
  right: "M10 6l6 6-6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  close: "M6 6l12 12M18 6L6 18",
  help: "M9 9a3 3 0 1 1 4 2.8c-.7.3-1 .8-1 1.7M12 17.5v.1",
  code: "M8 7l-5 5 5 5M16 7l5 5-5 5",
  alert: "M12 8v5M12 16.5v.1M12 3l10 18H2z",
};

export function icon(name) {
  return svg("svg", {class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true"}, svg("path", {d: kIcons[name]}));
}

// A button that shows an icon; its label is its name for screen readers and its tooltip.
export function icon_button(name, label, click, extra = "") {
  return el("button", {type: "button", class: `icon-button ${extra}`, label, on: {click}}, icon(name));
}

export function by_id(id) {
  return document.getElementById(id);
}

// Read out by screen readers; never shown.
export function announce(words) {
  by_id("announcer").textContent = words;
}

let toast_timer = 0;

// One line at the bottom for some seconds, with at most one thing to do about it: {t, run}.
export function toast(words, action = null) {
  const box = by_id("toast");
  const close = () => box.replaceChildren();
  clearTimeout(toast_timer);
  box.replaceChildren(el("div", {class: "toast"}, el("span", {}, words),
    action && el("button", {type: "button", class: "link", t: action.t, on: {click: () => { close(); action.run(); }}}),
    icon_button("close", "close", close)));
  toast_timer = setTimeout(close, action ? 10000 : 4000);
}

// A modal dialog with a title and a close button; returns {dialog, body}. It removes itself when closed.
export function open_dialog(title_key, class_name, on_close = () => {}) {
  const body = el("div", {class: "dialog-body"});
  const dialog = el("dialog", {class: class_name, "aria-labelledby": "dialog-title"},
    el("header", {}, el("h2", {id: "dialog-title", t: title_key}), icon_button("close", "close", () => dialog.close())), body);
  dialog.addEventListener("close", () => { dialog.remove(); on_close(); });
  // A click on the backdrop has the dialog itself as its target.
  dialog.addEventListener("mousedown", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
  return {dialog, body};
}

// Offers a text as a file to keep.
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], {type}));
  el("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export async function copy_text(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https the clipboard interface is missing: the old way needs a selected field.
    const field = el("textarea", {class: "unseen", readonly: true});
    field.value = text;
    (button.closest("dialog") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  const old = button.querySelector(".icon");
  const done = icon("check");
  old?.replaceWith(done);
  announce(t("copied"));
  setTimeout(() => done.replaceWith(old ?? ""), 1500);
}
