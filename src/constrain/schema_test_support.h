// For tests only: a small validator for JSON schema, and texts made by random choices among allowed tokens.
#pragma once

#include <algorithm>
#include <string>

#include "base/json.h"
#include "base/random.h"
#include "constrain/test_support.h"
#include "text/regex.h"

namespace fathom::constrain_test {

std::string why_invalid(const Json& value, const Json& schema, const Json& root);

inline size_t code_points(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

inline bool has_type(const Json& value, const std::string& type) {
  if (type == "integer") return value.is_number_integer();
  return type == "number" ? value.is_number() : type == value.type_name();
}

inline std::string why_invalid_object(const Json& value, const Json& schema, const Json& root) {
  const Json properties = schema.value("properties", Json::object());
  for (const Json& name : schema.value("required", Json::array())) {
    if (!value.contains(name.get<std::string>())) return "required";
  }
  if (value.size() < schema.value("minProperties", size_t{0})) return "minProperties";
  if (value.size() > schema.value("maxProperties", size_t{10000})) return "maxProperties";
  for (const auto& [name, member] : value.items()) {
    const Json& its =
        properties.contains(name) ? properties[name] : schema.value("additionalProperties", Json(true));
    if (const std::string why = why_invalid(member, its, root); !why.empty()) return name + ": " + why;
  }
  return "";
}

inline std::string why_invalid_array(const Json& value, const Json& schema, const Json& root) {
  if (value.size() < schema.value("minItems", size_t{0})) return "minItems";
  if (value.size() > schema.value("maxItems", size_t{10000})) return "maxItems";
  const Json prefix = schema.value("prefixItems", Json::array());
  for (size_t i = 0; i < value.size(); ++i) {
    const Json its = i < prefix.size() ? prefix[i] : schema.value("items", Json(true));
    if (const std::string why = why_invalid(value[i], its, root); !why.empty()) return "item: " + why;
  }
  return "";
}

inline std::string why_invalid_scalar(const Json& value, const Json& schema) {
  if (value.is_number()) {
    if (schema.contains("minimum") && value < schema["minimum"]) return "minimum";
    if (schema.contains("maximum") && value > schema["maximum"]) return "maximum";
    if (schema.contains("exclusiveMinimum") && value <= schema["exclusiveMinimum"]) return "exclusiveMinimum";
    if (schema.contains("exclusiveMaximum") && value >= schema["exclusiveMaximum"]) return "exclusiveMaximum";
  }
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    if (code_points(text) < schema.value("minLength", size_t{0})) return "minLength";
    if (code_points(text) > schema.value("maxLength", size_t{10000})) return "maxLength";
    if (schema.contains("pattern")) {
      const Regex regex = Regex::compile_native(schema["pattern"].get<std::string>()).value();
      RegexScratch scratch;
      if (!regex.find(text, 0, scratch).value().found) return "pattern";
    }
  }
  return "";
}

// The keyword that the value breaks, empty where none.
inline std::string why_invalid(const Json& value, const Json& schema, const Json& root) {
  if (schema.is_boolean()) return schema.get<bool>() ? "" : "false";
  if (schema.contains("$ref")) {
    const auto pointer = schema["$ref"].get<std::string>().substr(1);
    const std::string why = why_invalid(value, root.at(Json::json_pointer(pointer)), root);
    if (!why.empty()) return why;
  }
  for (const Json& part : schema.value("allOf", Json::array())) {
    if (const std::string why = why_invalid(value, part, root); !why.empty()) return why;
  }
  for (const char* keyword : {"anyOf", "oneOf"}) {
    bool fits = !schema.contains(keyword);
    for (const Json& branch : schema.value(keyword, Json::array()))
      fits |= why_invalid(value, branch, root).empty();
    if (!fits) return keyword;
  }
  if (schema.contains("type")) {
    bool fits = false;
    const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
    for (const Json& type : types) fits |= has_type(value, type.get<std::string>());
    if (!fits) return "type";
  }
  if (schema.contains("const") && value != schema["const"]) return "const";
  if (schema.contains("enum") &&
      std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
    return "enum";
  }
  if (value.is_object()) return why_invalid_object(value, schema, root);
  if (value.is_array()) return why_invalid_array(value, schema, root);
  return why_invalid_scalar(value, schema);
}

// After 60 tokens the end, or what closes something, is mostly preferred.
inline std::string random_walk(const Compiled& compiled, const Vocabulary& vocabulary, uint64_t seed) {
  ConstraintMatcher matcher(compiled);
  std::string text;
  for (uint64_t step = 0; step < 3000; ++step) {
    const auto bits = mask_of(matcher, vocabulary);
    std::vector<int32_t> allowed;
    for (int32_t token = 0; token <= vocabulary.end_id; ++token) {
      if (is_set(bits, token)) allowed.push_back(token);
    }
    if (allowed.empty()) {
      ADD_FAILURE() << "a dead end after " << text;
      return text;
    }
    int32_t token = allowed[random_bits(seed, step) % allowed.size()];
    if (step > 60 && step % 4 != 0) {
      for (const int32_t closing :
           {vocabulary.end_id, int32_t{'"'}, int32_t{'}'}, int32_t{']'}, int32_t{'n'}}) {
        if (!is_set(bits, closing)) continue;
        token = closing;
        break;
      }
    }
    EXPECT_TRUE(matcher.accept(token));
    if (token == vocabulary.end_id) return text;
    text += vocabulary.tokens[static_cast<size_t>(token)];
  }
  ADD_FAILURE() << "no end after " << text;
  return text;
}

}  // namespace fathom::constrain_test
