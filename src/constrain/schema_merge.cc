#include "constrain/schema_merge.h"

#include <algorithm>

namespace fathom {
namespace {

// Booleans or objects: the later compilation merges them when it comes to them.
Json both(const Json& a, const Json& b) { return {{"allOf", Json::array({a, b})}}; }

bool contains(const Json& array, const Json& value) {
  return std::find(array.begin(), array.end(), value) != array.end();
}

Json as_list(const Json& value) { return value.is_array() ? value : Json::array({value}); }

Json merge_types(const Json& a, const Json& b) {
  const Json left = as_list(a);
  const Json right = as_list(b);
  Json types = Json::array();
  for (const Json& type : left) {
    if (contains(right, type) || (type == "integer" && contains(right, "number"))) types.push_back(type);
  }
  if (contains(left, "number") && contains(right, "integer") && !contains(types, "integer")) {
    types.push_back("integer");
  }
  return types;
}

Json merge_lists(const Json& a, const Json& b) {
  Json all = a;
  for (const Json& value : b) {
    if (!contains(all, value)) all.push_back(value);
  }
  return all;
}

Json common_values(const Json& a, const Json& b) {
  Json common = Json::array();
  for (const Json& value : a) {
    if (contains(b, value)) common.push_back(value);
  }
  return common;
}

Json merge_properties(const Json& a, const Json& b) {
  Json all = a;
  for (const auto& [name, schema] : b.items()) {
    all[name] = all.contains(name) ? both(all[name], schema) : schema;
  }
  return all;
}

// Whether `closed` says something of properties that only `open` lists.
bool closes_foreign_properties(const Json& closed, const Json& open) {
  const auto additional = closed.find("additionalProperties");
  if (additional == closed.end() || *additional == true || !open.contains("properties")) return false;
  const Json own = closed.value("properties", Json::object());
  for (const auto& [name, schema] : open["properties"].items()) {
    if (!own.contains(name)) return true;
  }
  return false;
}

// A null: there is no rule for the two.
Json merge_keyword(const std::string& keyword, const Json& a, const Json& b) {
  if (keyword == "type") return merge_types(a, b);
  if (keyword == "properties" && a.is_object() && b.is_object()) return merge_properties(a, b);
  if (keyword == "required" && a.is_array() && b.is_array()) return merge_lists(a, b);
  if (keyword == "enum" && a.is_array() && b.is_array()) return common_values(a, b);
  if (keyword == "items" || keyword == "additionalProperties") return both(a, b);
  if (a.is_number() && b.is_number()) {
    const bool is_lower = keyword.starts_with("min") || keyword == "exclusiveMinimum";
    const bool is_upper = keyword.starts_with("max") || keyword == "exclusiveMaximum";
    if (is_lower) return std::max(a, b);
    if (is_upper) return std::min(a, b);
  }
  return nullptr;
}

}  // namespace

bool is_annotation(const std::string& keyword) {
  static constexpr const char* kAnnotations[] = {"title",   "description", "default",   "examples",
                                                 "$schema", "$comment",    "readOnly",  "writeOnly",
                                                 "$defs",   "definitions", "deprecated"};
  return std::find(std::begin(kAnnotations), std::end(kAnnotations), keyword) != std::end(kAnnotations);
}

Result<Json> merge_schemas(const Json& a, const Json& b, const std::string& pointer) {
  if (a.is_boolean()) return a.get<bool>() ? b : a;
  if (b.is_boolean()) return b.get<bool>() ? a : b;
  if (closes_foreign_properties(a, b) || closes_foreign_properties(b, a)) {
    return unsupported("{}: additionalProperties beside another schema's properties is not supported",
                       pointer);
  }
  Json merged = a;
  for (const auto& [keyword, value] : b.items()) {
    if (!merged.contains(keyword)) {
      merged[keyword] = value;
    } else if (!is_annotation(keyword) && merged[keyword] != value) {
      Json together = merge_keyword(keyword, merged[keyword], value);
      if (together.is_null()) {
        return unsupported("{}: two different values of \"{}\" together are not supported", pointer, keyword);
      }
      merged[keyword] = std::move(together);
    }
  }
  return merged;
}

}  // namespace fathom
