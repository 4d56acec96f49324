// The settings dialog. A value takes effect when it is typed and right; a wrong one is marked and not kept.
import {el, open_dialog} from "./dom.js";
import {api_key, kSampling, reset_sampling, set, set_api_key, settings} from "./settings.js";
import {t} from "./text.js";

// models: as of the server, as far as it is known; changed(name): called after a change; closed(): at the end.
// Returns a function to be called with the models whenever they are read anew.
export function open_settings(models, changed, closed) {
  const {body} = open_dialog("settings", "drawer", closed);
  const model = select("model", model_options(models), changed);
  const draw = () => body.replaceChildren(
    section("model_section", field("model", model), text_area("system", "system_hint", 4)),
    section("sampling_section", el("p", {class: "quiet", t: "sampling_hint"}), el("div", {class: "grid"}, ...kSampling.map(number_field)),
      text_area("stop", "stop_hint", 2), ...format_fields(), check_box("logprobs", "logprobs"),
      el("button", {type: "button", t: "reset", on: {click: () => { reset_sampling(); draw(); }}})),
    section("access_section", key_field(changed)),
    section("look_section", choice("theme", ["system", "light", "dark"], changed), choice("language", ["system", "en", "zh"], changed)));
  draw();
  return (latest) => fill(model, "model", model_options(latest));
}

function section(title, ...fields) {
  return el("section", {}, el("h3", {t: title}), ...fields);
}

function field(key, control) {
  return el("label", {class: "field"}, el("span", {t: key}), control);
}

function select(name, options, changed) {
  const box = el("select", {id: `set-${name}`, on: {change: () => { set(name, box.value); changed(name); }}});
  fill(box, name, options);
  return box;
}

function fill(box, name, options) {
  box.replaceChildren(...options.map(([value, words]) => el("option", {value, selected: value === settings[name]}, words)));
}

function choice(name, values, changed) {
  return field(name, select(name, values.map((value) => [value, t(`${name}_${value}`)]), changed));
}

function model_options(models) {
  return [["", t("first_model")], ...models.map(({id}) => [id, id])];
}

function text_area(name, hint, rows) {
  const box = el("textarea", {id: `set-${name}`, rows, hint, on: {input: () => set(name, box.value)}});
  box.value = settings[name];
  return field(name, box);
}

function number_field({name, min, max, step}) {
  const box = el("input", {type: "number", id: `set-${name}`, min, max, step, hint: "server_default", inputmode: "decimal", on: {input: () => {
    const right = box.checkValidity();
    box.ariaInvalid = String(!right);
    problem.textContent = right ? "" : t("number_range", {min, max});
    if (right) set(name, box.value);
  }}});
  box.value = settings[name] ?? "";
  const problem = el("span", {class: "wrong", role: "alert"});
  return el("label", {class: "field"}, el("code", {}, name), box, problem);
}

function check_box(name, key) {
  const box = el("input", {type: "checkbox", id: `set-${name}`, checked: settings[name], on: {change: () => set(name, box.checked)}});
  return el("label", {class: "check"}, box, el("span", {t: key}));
}

function format_fields() {
  const problem = el("span", {class: "wrong", role: "alert"});
  const schema = el("textarea", {id: "set-schema", rows: 5, class: "mono", hint: "schema_hint", spellcheck: "false", on: {input: () => {
    const right = is_object(schema.value);
    schema.ariaInvalid = String(!right);
    problem.textContent = right ? "" : t("schema_wrong");
    set("schema", schema.value);
  }}});
  schema.value = settings.schema;
  const box = el("label", {class: "field"}, el("span", {t: "schema"}), schema, problem);
  const show = () => { box.hidden = settings.format !== "schema"; };
  show();
  return [choice("format", ["text", "json", "schema"], show), box];
}

function is_object(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function key_field(changed) {
  const box = el("input", {type: "password", id: "set-api-key", autocomplete: "off", on: {change: () => { set_api_key(box.value.trim()); changed("api_key"); }}});
  box.value = api_key();
  return el("div", {}, field("api_key", box), el("p", {class: "quiet", t: "key_hint"}));
}
