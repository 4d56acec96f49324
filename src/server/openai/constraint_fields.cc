#include "server/openai/constraint_fields.h"

#include "constrain/limits.h"

namespace fathom {
namespace {

using ConstraintKind = ConstraintSpec::Kind;

// Collects the one constraint; a second is an error of its field.
class Collector {
 public:
  explicit Collector(RequestFields& fields) : fields_(fields) {}

  void add(const std::string& param, ConstraintSpec spec) {
    if (found_) return fields_.fail(param, fmt::format("cannot be together with {}", found_->param));
    found_ = RequestedConstraint{std::move(spec), param};
  }

  // name: how messages call the field, with its path.
  void schema(const std::string& name, const Json* value) {
    if (value == nullptr) return;
    if (!value->is_object() && !value->is_string() && !value->is_boolean()) {
      return fields_.fail(name, "must be a JSON schema");
    }
    add(name, {ConstraintKind::kJsonSchema,
               value->is_string() ? value->get<std::string>() : dump_json(*value),
               {}});
  }

  void text(const std::string& name, ConstraintKind kind, const Json* value) {
    if (value == nullptr) return;
    if (!value->is_string()) return fields_.fail(name, "must be a string");
    add(name, {kind, value->get<std::string>(), {}});
  }

  void choices(const std::string& name, const Json* value) {
    if (value == nullptr) return;
    const bool is_list = value->is_array() && !value->empty() && value->size() <= kMaxConstraintChoices;
    ConstraintSpec spec{ConstraintKind::kChoice, "", {}};
    for (const Json& choice : is_list ? *value : Json::array()) {
      if (choice.is_string()) spec.choices.push_back(choice.get<std::string>());
    }
    if (!is_list || spec.choices.size() != value->size()) {
      return fields_.fail(name, fmt::format("must be a list of 1 to {} strings", kMaxConstraintChoices));
    }
    add(name, std::move(spec));
  }

  std::optional<RequestedConstraint> found() { return std::move(found_); }

 private:
  RequestFields& fields_;
  std::optional<RequestedConstraint> found_;
};

const Json* find_member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

void read_response_format(RequestFields& fields, Collector& collector) {
  const Json* format = fields.value("response_format");
  if (format == nullptr) return;
  const Json type = format->is_object() ? format->value("type", Json()) : Json();
  if (type == "text") return;
  if (type == "json_object") {
    // llama.cpp's clients put a schema beside.
    if (const Json* schema = find_member(*format, "schema"))
      return collector.schema("response_format", schema);
    return collector.add("response_format", {ConstraintKind::kJsonObject, "", {}});
  }
  if (type != "json_schema") {
    return fields.fail("response_format", "must have a type: text, json_object or json_schema");
  }
  const Json* holder = find_member(*format, "json_schema");
  const Json* schema = holder != nullptr && holder->is_object() ? find_member(*holder, "schema") : nullptr;
  if (schema == nullptr) return fields.fail("response_format", "must have json_schema with a schema");
  collector.schema("response_format", schema);
}

void read_structured_outputs(RequestFields& fields, Collector& collector) {
  const Json* outputs = fields.value("structured_outputs");
  if (outputs == nullptr) return;
  if (!outputs->is_object()) return fields.fail("structured_outputs", "must be an object");
  RequestFields inner(*outputs, "structured_outputs.");
  collector.schema("structured_outputs.json", inner.value("json"));
  collector.text("structured_outputs.regex", ConstraintKind::kRegex, inner.value("regex"));
  collector.choices("structured_outputs.choice", inner.value("choice"));
  collector.text("structured_outputs.grammar", ConstraintKind::kGrammar, inner.value("grammar"));
  if (inner.boolean("json_object").value_or(false)) {
    collector.add("structured_outputs.json_object", {ConstraintKind::kJsonObject, "", {}});
  }
  for (const std::string& key : inner.unknown()) {
    // To leave a part of a constraint out would be no constraint.
    if (!(*outputs)[key].is_null()) inner.fail(key, "is not supported");
  }
  fields.take_error(inner);
}

}  // namespace

std::optional<RequestedConstraint> read_constraint(RequestFields& fields) {
  Collector collector(fields);
  read_response_format(fields, collector);
  read_structured_outputs(fields, collector);
  for (const char* key : {"guided_json", "json_schema"}) collector.schema(key, fields.value(key));
  for (const char* key : {"guided_regex", "regex"})
    collector.text(key, ConstraintKind::kRegex, fields.value(key));
  for (const char* key : {"guided_grammar", "ebnf", "grammar"}) {
    collector.text(key, ConstraintKind::kGrammar, fields.value(key));
  }
  collector.choices("guided_choice", fields.value("guided_choice"));
  return collector.found();
}

}  // namespace fathom
