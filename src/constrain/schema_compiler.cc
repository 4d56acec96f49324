#include "constrain/schema_compiler.h"

#include <algorithm>

#include "constrain/limits.h"
#include "constrain/schema_context.h"
#include "constrain/schema_merge.h"

namespace fathom {
namespace {

struct Keyword {
  const char* name;
  const char* type;  // the type it is about; "": none
};
constexpr Keyword kKeywords[] = {
    {"type", ""},
    {"enum", ""},
    {"const", ""},
    {"anyOf", ""},
    {"oneOf", ""},
    {"allOf", ""},
    {"$ref", ""},
    {"properties", "object"},
    {"required", "object"},
    {"additionalProperties", "object"},
    {"minProperties", "object"},
    {"maxProperties", "object"},
    {"items", "array"},
    {"prefixItems", "array"},
    {"minItems", "array"},
    {"maxItems", "array"},
    {"uniqueItems", "array"},
    {"minLength", "string"},
    {"maxLength", "string"},
    {"pattern", "string"},
    {"format", "string"},
    {"minimum", "number"},
    {"maximum", "number"},
    {"exclusiveMinimum", "number"},
    {"exclusiveMaximum", "number"},
};

const Keyword* find_keyword(const std::string& name) {
  const auto* found = std::find_if(std::begin(kKeywords), std::end(kKeywords),
                                   [&name](const Keyword& keyword) { return name == keyword.name; });
  return found == std::end(kKeywords) ? nullptr : found;
}

// Whether the schema says anything beside these keywords.
bool has_others(const Json& schema, std::initializer_list<std::string_view> keywords) {
  for (const auto& [name, value] : schema.items()) {
    if (!is_annotation(name) && std::find(keywords.begin(), keywords.end(), name) == keywords.end())
      return true;
  }
  return false;
}

size_t count_values(const Json& value) {
  size_t count = 1;
  if (value.is_structured()) {
    for (const Json& child : value) count += count_values(child);
  }
  return count;
}

bool is_of_type(const Json& value, const std::string& type) {
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

}  // namespace

std::string child_pointer(const std::string& pointer, const std::string& name) {
  std::string child = pointer + "/";
  for (const char c : name) child += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return child;
}

Result<Grammar> SchemaCompiler::run() {
  rules_["#"] = grammar_.add_rule("#");
  pending_.push_back({0, &root_, "#"});
  while (!pending_.empty()) {
    const PendingRule next = std::move(pending_.front());
    pending_.pop_front();
    FATHOM_ASSIGN_OR_RETURN(const NodeId body, compile(*next.schema, next.pointer, 0));
    grammar_.define(next.rule, body);
  }
  return std::move(grammar_);
}

Status SchemaCompiler::check_keywords(const Json& schema, const std::string& pointer) const {
  for (const auto& [name, value] : schema.items()) {
    if (is_annotation(name) || find_keyword(name) != nullptr) continue;
    if (name == "$id" && pointer == "#") continue;
    return unsupported("{}: this keyword is not supported", child_pointer(pointer, name));
  }
  return ok_status();
}

Result<NodeId> SchemaCompiler::compile(const Json& schema, const std::string& pointer, int depth) {
  if (depth > kMaxConstraintNesting) {
    return invalid_argument("{}: nested deeper than the limit of {}", pointer, kMaxConstraintNesting);
  }
  if (grammar_.nodes().size() > kMaxGrammarNodes) {
    return invalid_argument("{}: the schema's grammar is over the limit of {} parts", pointer,
                            kMaxGrammarNodes);
  }
  FATHOM_ASSIGN_OR_RETURN(const Json* combined, combine(schema, pointer, depth));
  if (combined->is_boolean()) return combined->get<bool>() ? parts_.value() : grammar_.choice({});
  if (combined->contains("$ref")) return reference(*combined, pointer);
  for (const char* keyword : {"anyOf", "oneOf"}) {
    if (combined->contains(keyword)) return compile_alternatives(*combined, keyword, pointer, depth);
  }
  if (combined->contains("enum") || combined->contains("const")) return compile_values(*combined, pointer);
  return compile_types(*combined, pointer, depth);
}

Result<const Json*> SchemaCompiler::merge(const Json& a, const Json& b, const std::string& pointer) {
  merged_values_ += count_values(a) + count_values(b);
  if (merged_values_ > kMaxMergedValues) {
    return invalid_argument("{}: schemas to merge are over the limit of {} values in all", pointer,
                            kMaxMergedValues);
  }
  FATHOM_ASSIGN_OR_RETURN(Json merged, merge_schemas(a, b, pointer));
  merged_.push_back(std::move(merged));
  return &merged_.back();
}

Result<const Json*> SchemaCompiler::combine(const Json& schema, const std::string& pointer, int depth) {
  if (schema.is_object() && !has_others(schema, {"$ref"}) && schema.contains("$ref")) return &schema;
  const auto all = schema.find("allOf");
  const bool is_one = schema.is_object() && all != schema.end() && all->is_array() && all->size() == 1;
  // A wrapped reference stays one, so that it may be recursive.
  if (is_one && !has_others(schema, {"allOf"}) && depth < kMaxConstraintNesting) {
    return combine((*all)[0], pointer + "/allOf/0", depth + 1);
  }
  return expand(schema, pointer, depth);
}

Result<const Json*> SchemaCompiler::expand(const Json& schema, const std::string& pointer, int depth) {
  if (depth > kMaxConstraintNesting) {
    return invalid_argument("{}: allOf and $ref go on for more than the limit of {}", pointer,
                            kMaxConstraintNesting);
  }
  if (schema.is_boolean()) return &schema;
  if (!schema.is_object()) return invalid_argument("{}: a schema has to be an object or a boolean", pointer);
  FATHOM_RETURN_IF_ERROR(check_keywords(schema, pointer));
  const auto all = schema.find("allOf");
  if (all == schema.end() && !schema.contains("$ref")) return &schema;
  if (all != schema.end() && (!all->is_array() || all->empty())) {
    return invalid_argument("{}/allOf: has to be a list with members", pointer);
  }
  merged_.push_back(schema);
  Json& rest = merged_.back();
  rest.erase("allOf");
  rest.erase("$ref");
  const Json* result = &rest;
  if (schema.contains("$ref")) {
    FATHOM_ASSIGN_OR_RETURN(const Json* target, resolve(schema, pointer));
    FATHOM_ASSIGN_OR_RETURN(target, expand(*target, pointer, depth + 1));
    FATHOM_ASSIGN_OR_RETURN(result, merge(*result, *target, pointer));
  }
  for (size_t i = 0; all != schema.end() && i < all->size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const Json* part,
                            expand((*all)[i], fmt::format("{}/allOf/{}", pointer, i), depth + 1));
    FATHOM_ASSIGN_OR_RETURN(result, merge(*result, *part, pointer));
  }
  return result;
}

Result<const Json*> SchemaCompiler::resolve(const Json& schema, const std::string& pointer) const {
  const Json& target = schema["$ref"];
  if (!target.is_string()) return invalid_argument("{}/$ref: has to be a string", pointer);
  const auto& text = target.get_ref<const std::string&>();
  if (!text.starts_with("#")) {
    return unsupported("{}/$ref: \"{}\" is not in this document (only \"#...\" is supported)", pointer, text);
  }
  if (text.size() > 1 && text[1] != '/') {
    return unsupported("{}/$ref: \"{}\" is an anchor; only \"#/...\" is supported", pointer, text);
  }
  try {
    const Json* found = &root_.at(Json::json_pointer(text.substr(1)));
    return found;
  } catch (const Json::exception&) {
    return invalid_argument("{}/$ref: there is no \"{}\"", pointer, text);
  }
}

Result<NodeId> SchemaCompiler::reference(const Json& schema, const std::string& pointer) {
  FATHOM_ASSIGN_OR_RETURN(const Json* target, resolve(schema, pointer));
  const auto& text = schema["$ref"].get_ref<const std::string&>();
  const auto [place, is_new] = rules_.try_emplace(text, 0);
  if (is_new) {
    place->second = grammar_.add_rule(text);
    pending_.push_back({place->second, target, text});
  }
  return grammar_.reference(place->second);
}

Result<NodeId> SchemaCompiler::compile_alternatives(const Json& schema, const char* keyword,
                                                    const std::string& pointer, int depth) {
  const Json& branches = schema[keyword];
  const std::string base = child_pointer(pointer, keyword);
  if (!branches.is_array() || branches.empty()) {
    return invalid_argument("{}: has to be a list with members", base);
  }
  Json rest = schema;
  rest.erase(keyword);
  std::vector<NodeId> alternatives;
  for (size_t i = 0; i < branches.size(); ++i) {
    const std::string branch_pointer = fmt::format("{}/{}", base, i);
    const Json* branch = &branches[i];
    if (has_others(rest, {})) {
      FATHOM_ASSIGN_OR_RETURN(branch, expand(*branch, branch_pointer, depth + 1));
      FATHOM_ASSIGN_OR_RETURN(branch, merge(rest, *branch, branch_pointer));
    }
    FATHOM_ASSIGN_OR_RETURN(const NodeId alternative, compile(*branch, branch_pointer, depth + 1));
    alternatives.push_back(alternative);
  }
  return grammar_.choice(alternatives);
}

Result<NodeId> SchemaCompiler::compile_values(const Json& schema, const std::string& pointer) {
  const bool is_const = schema.contains("const");
  if (has_others(schema, {"type", is_const ? "const" : "enum"})) {
    return unsupported("{}: enum or const beside keywords other than type is not supported", pointer);
  }
  if (!is_const && (!schema["enum"].is_array() || schema["enum"].empty())) {
    return invalid_argument("{}/enum: has to be a list with members", pointer);
  }
  std::vector<NodeId> alternatives;
  for (const Json& value : is_const ? Json::array({schema["const"]}) : schema["enum"]) {
    bool fits = !schema.contains("type");
    if (!fits) {
      FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string> types, types_of(schema, pointer));
      fits = std::any_of(types.begin(), types.end(),
                         [&value](const std::string& type) { return is_of_type(value, type); });
    }
    if (fits) alternatives.push_back(grammar_.literal(dump_json(value)));
  }
  return grammar_.choice(alternatives);
}

Result<std::vector<std::string>> SchemaCompiler::types_of(const Json& schema,
                                                          const std::string& pointer) const {
  std::vector<std::string> types;
  if (!schema.contains("type")) {
    for (const auto& [name, value] : schema.items()) {
      const Keyword* keyword = find_keyword(name);
      if (keyword == nullptr || keyword->type[0] == 0) continue;
      if (std::find(types.begin(), types.end(), keyword->type) == types.end()) types.push_back(keyword->type);
    }
    return types;
  }
  const Json& type = schema["type"];
  for (const Json& name : type.is_array() ? type : Json::array({type})) {
    if (!name.is_string()) return invalid_argument("{}/type: has to be a string or a list of them", pointer);
    types.push_back(name.get<std::string>());
  }
  return types;
}

Result<NodeId> SchemaCompiler::compile_types(const Json& schema, const std::string& pointer, int depth) {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string> types, types_of(schema, pointer));
  if (types.empty() && !schema.contains("type")) return parts_.value();
  std::vector<NodeId> alternatives;
  for (const std::string& type : types) {
    FATHOM_ASSIGN_OR_RETURN(const NodeId alternative, compile_type(type, schema, pointer, depth));
    alternatives.push_back(alternative);
  }
  return alternatives.size() == 1 ? alternatives[0] : grammar_.choice(alternatives);
}

Result<NodeId> SchemaCompiler::compile_type(const std::string& type, const Json& schema,
                                            const std::string& pointer, int depth) {
  if (type == "null") return grammar_.literal("null");
  if (type == "boolean") return grammar_.choice({grammar_.literal("true"), grammar_.literal("false")});
  if (type == "integer") return compile_number(schema, pointer, NumberType::kInteger);
  if (type == "number") return compile_number(schema, pointer, NumberType::kNumber);
  if (type == "string") return compile_string(schema, pointer);
  if (type == "array") return compile_array(schema, pointer, depth);
  if (type == "object") return compile_object(schema, pointer, depth);
  return invalid_argument("{}/type: \"{}\" is not a type", pointer, type);
}

Result<Grammar> compile_schema(std::string_view text) {
  JsonLimits limits;
  limits.max_bytes = kMaxConstraintBytes;
  limits.max_depth = 4 * kMaxConstraintNesting;
  const Result<Json> root = parse_json(text, "the schema", limits);
  if (!root.ok()) return invalid_argument("{}", root.status().message());  // a client wrote it
  return SchemaCompiler(*root).run();
}

}  // namespace fathom
