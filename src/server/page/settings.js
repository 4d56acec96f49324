// The user's choices, kept in localStorage; the API key and drafts in sessionStorage, which ends with the tab. A browser may refuse
// both (privacy settings, no space): then a choice lasts as long as the page.

const kKey = "fathom.settings";
const kSecret = "fathom.api_key";

// Sampling fields of a request. Empty means the server's own value: the field is left out.
export const kSampling = [
  {name: "temperature", min: 0, max: 2, step: "any"},
  {name: "top_p", min: 0, max: 1, step: "any"},
  {name: "top_k", min: -1, max: 1000000, step: 1},
  {name: "min_p", min: 0, max: 1, step: "any"},
  {name: "presence_penalty", min: -2, max: 2, step: "any"},
  {name: "frequency_penalty", min: -2, max: 2, step: "any"},
  {name: "repetition_penalty", min: 0.01, max: 10, step: "any"},
  {name: "max_tokens", min: 1, max: 10000000, step: 1},
  {name: "seed", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1},
];

const kDefaults = {model: "", system: "", stop: "", format: "text", schema: "", logprobs: false, theme: "system", language: "system"};

function guarded(run) {
  try {
    return run();
  } catch {
    return null;
  }
}

export const settings = {...kDefaults, ...guarded(() => JSON.parse(localStorage.getItem(kKey)))};

export function set(name, value) {
  settings[name] = value;
  if (name === "theme") document.documentElement.dataset.theme = value;
  guarded(() => localStorage.setItem(kKey, JSON.stringify(settings)));
}

// A text kept for this tab; an empty one is forgotten.
export function tab_text(name) {
  return guarded(() => sessionStorage.getItem(name)) ?? "";
}

export function keep_tab_text(name, text) {
  guarded(() => (text === "" ? sessionStorage.removeItem(name) : sessionStorage.setItem(name, text)));
}

export function reset_sampling() {
  for (const {name} of kSampling) set(name, "");
  for (const name of ["stop", "format", "schema", "logprobs"]) set(name, kDefaults[name]);
}

let key = tab_text(kSecret);

export function api_key() {
  return key;
}

export function set_api_key(text) {
  key = text;
  keep_tab_text(kSecret, text);
}

// What the settings add to a request. Throws a SyntaxError where the schema is wanted and not JSON.
export function request_fields() {
  const fields = {};
  for (const {name} of kSampling) {
    const text = settings[name];
    if (text !== undefined && text !== "") fields[name] = Number(text);
  }
  const stop = settings.stop.split("\n").filter((line) => line !== "").map((line) => line.replaceAll("\\n", "\n"));
  if (stop.length > 0) fields.stop = stop;
  if (settings.format === "json") fields.response_format = {type: "json_object"};
  if (settings.format === "schema") {
    fields.response_format = {type: "json_schema", json_schema: {name: "answer", schema: JSON.parse(settings.schema)}};
  }
  if (settings.logprobs) Object.assign(fields, {logprobs: true, top_logprobs: 5});
  return fields;
}
