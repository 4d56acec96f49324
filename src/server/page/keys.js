// Keys that work anywhere on the page.
import {by_id} from "./dom.js";

export function install_keys(app) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    const run = action_of(event, app);
    if (!run) return;
    event.preventDefault();
    run();
  });
  by_id("skip").addEventListener("click", (event) => {
    event.preventDefault();
    app.composer.field.focus();
  });
}

function action_of(event, app) {
  const key = event.key.toLowerCase();
  const list_shown = by_id("shell").classList.contains("list-shown");
  if (event.ctrlKey || event.metaKey) {
    if (key === "k") return () => { if (!list_shown) app.toggle(); app.sidebar.search.focus(); };
    if (key === "o" && event.shiftKey) return () => { app.create(); app.composer.field.focus(); };
    if (key === ",") return () => app.settings();
    return null;
  }
  if (key === "escape") return by_id("stage").inert ? () => app.toggle() : () => app.stop();
  if (event.altKey || event.target.matches("input, textarea, select")) return null;
  if (key === "/") return () => app.composer.field.focus();
  if (key === "?") return () => app.help();
  return null;
}
