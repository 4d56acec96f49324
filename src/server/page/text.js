// The page's words in the language in force. Elements carry the keys of their texts, so a change of language reaches
// what is on the page already.
import {english} from "./text_en.js";
import {chinese} from "./text_zh.js";

const kTexts = {en: english, zh: chinese};
let language = "en";

// t("tokens_of", {used: 3}) replaces {used}.
export function t(key, values = {}) {
  return kTexts[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// "system" follows the browser.
export function set_language(choice) {
  language = choice === "system" ? (navigator.language.startsWith("zh") ? "zh" : "en") : choice;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-hint]")) node.placeholder = t(node.dataset.tHint);
  for (const node of document.querySelectorAll("[data-t-label]")) {
    node.ariaLabel = t(node.dataset.tLabel);
    if (node.tagName === "BUTTON") node.title = node.ariaLabel;
  }
}

export function number(value, digits = 0) {
  return new Intl.NumberFormat(document.documentElement.lang, {maximumFractionDigits: digits, minimumFractionDigits: digits}).format(value);
}

export function seconds(value) {
  return value < 1 ? `${number(value * 1000)} ms` : `${number(value, value < 10 ? 2 : 1)} s`;
}

// "Today", "Yesterday", "Last 7 days", or the month.
export function day_group(time) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (time >= midnight) return t("today");
  if (time >= midnight - 86400000) return t("yesterday");
  if (time >= midnight - 6 * 86400000) return t("last_week");
  return new Intl.DateTimeFormat(document.documentElement.lang, {year: "numeric", month: "long"}).format(time);
}
