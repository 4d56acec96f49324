// Objects of a schema.
#include <algorithm>

#include "constrain/limits.h"
#include "constrain/schema_compiler.h"
#include "constrain/schema_context.h"
#include "text/utf8.h"

namespace fathom {
namespace {

// Strings that are none of some names, as they stand in JSON after the opening quote: a tree of the names,
// left at any point for good.
class OtherNames {
 public:
  OtherNames(Grammar& grammar, JsonParts& parts) : grammar_(grammar) {
    quote_ = grammar.literal("\"");
    rest_ = grammar.sequence({grammar.repeat(parts.string_character(), 0, kUnbounded), quote_});
  }

  // names: ascending, different, alike in their first `depth` code points.
  NodeId after(std::span<const std::u32string> names, size_t depth) {
    std::vector<NodeId> alternatives;
    std::vector<CodePointRange> taken = {{0, 0x1f}, {'"', '"'}, {'\\', '\\'}};
    if (names[0].size() == depth) {
      names = names.subspan(1);
    } else {
      alternatives.push_back(quote_);
    }
    while (!names.empty()) {
      const char32_t c = names[0][depth];
      const auto end = std::find_if(names.begin(), names.end(),
                                    [&](const std::u32string& name) { return name[depth] != c; });
      const auto count = static_cast<size_t>(end - names.begin());
      alternatives.push_back(grammar_.sequence(
          {json_string_set(grammar_, CodePointSet({{c, c}})), after(names.first(count), depth + 1)}));
      taken.push_back({c, c});
      names = names.subspan(count);
    }
    const NodeId others = grammar_.set(CodePointSet(std::move(taken)).complement());
    alternatives.push_back(grammar_.sequence({others, rest_}));
    return grammar_.choice(alternatives);
  }

 private:
  Grammar& grammar_;
  NodeId quote_;
  NodeId rest_;
};

}  // namespace

Result<NodeId> SchemaCompiler::key_not_among(const Json& names, const std::string& pointer) {
  std::vector<std::u32string> sorted;
  for (const auto& [name, schema] : names.items()) {
    std::u32string points;
    for (size_t i = 0; i < name.size();) {
      const CodePoint point = decode_utf8(name, i);
      points += point.value;
      i += point.length;
    }
    if (points.size() > kMaxExcludedName) {
      return unsupported(
          "{}: a property name of {} characters beside additionalProperties is over the limit of {}", pointer,
          points.size(), kMaxExcludedName);
    }
    sorted.push_back(std::move(points));
  }
  std::sort(sorted.begin(), sorted.end());
  return grammar_.sequence({grammar_.literal("\""), OtherNames(grammar_, parts_).after(sorted, 0)});
}

Result<std::vector<std::string>> SchemaCompiler::required_names(const Json& schema,
                                                                const std::string& pointer) const {
  std::vector<std::string> names;
  const auto found = schema.find("required");
  if (found == schema.end()) return names;
  bool is_right = found->is_array();
  for (size_t i = 0; is_right && i < found->size(); ++i) {
    is_right = (*found)[i].is_string();
    if (is_right) names.push_back((*found)[i].get<std::string>());
  }
  if (!is_right) return invalid_argument("{}/required: has to be a list of strings", pointer);
  return names;
}

Result<NodeId> SchemaCompiler::compile_map(const Json& schema, NodeId value, const std::string& pointer) {
  FATHOM_ASSIGN_OR_RETURN(const uint32_t min, count_of(schema, "minProperties", 0, pointer));
  FATHOM_ASSIGN_OR_RETURN(const uint32_t max, count_of(schema, "maxProperties", kUnbounded, pointer));
  if (min > max) return grammar_.choice({});
  return parts_.list("{", parts_.member(parts_.string(), value), min, max, "}");
}

NodeId SchemaCompiler::object_of(const std::vector<Property>& properties, std::optional<NodeId> extra) {
  const NodeId comma = grammar_.sequence({grammar_.literal(","), parts_.space()});
  std::vector<NodeId> later;  // by property: it, after another one
  for (const Property& property : properties) {
    const NodeId node = grammar_.sequence({comma, property.member});
    later.push_back(property.is_required ? node : grammar_.optional(node));
  }
  if (extra) later.push_back(grammar_.repeat(grammar_.sequence({comma, *extra}), 0, kUnbounded));
  // By which one comes first: one that is required, or one before it.
  std::vector<NodeId> alternatives;
  bool has_required = false;
  for (size_t i = 0; i < properties.size() && !has_required; ++i) {
    std::vector<NodeId> sequence(1, properties[i].member);
    sequence.insert(sequence.end(), later.begin() + static_cast<std::ptrdiff_t>(i) + 1, later.end());
    alternatives.push_back(grammar_.sequence(sequence));
    has_required = properties[i].is_required;
  }
  if (!has_required && extra) alternatives.push_back(grammar_.sequence({*extra, later.back()}));
  NodeId body = grammar_.sequence({grammar_.choice(alternatives), parts_.space()});
  if (!has_required) body = grammar_.optional(body);
  return grammar_.sequence({grammar_.literal("{"), parts_.space(), body, grammar_.literal("}")});
}

Result<NodeId> SchemaCompiler::compile_object(const Json& schema, const std::string& pointer, int depth) {
  Json listed = schema.value("properties", Json::object());
  if (!listed.is_object()) return invalid_argument("{}/properties: has to be an object", pointer);
  FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string> required, required_names(schema, pointer));
  const bool is_open = schema.contains("additionalProperties") || listed.empty();
  const Json additional = schema.value("additionalProperties", Json(true));
  for (const std::string& name : required) {
    if (!listed.contains(name)) listed[name] = additional;
  }
  if (listed.size() > kMaxSchemaProperties) {
    return invalid_argument("{}: {} properties are over the limit of {}", pointer, listed.size(),
                            kMaxSchemaProperties);
  }
  const bool has_extra = is_open && additional != false;
  std::optional<NodeId> extra;
  if (has_extra) {
    FATHOM_ASSIGN_OR_RETURN(const NodeId value,
                            compile(additional, pointer + "/additionalProperties", depth + 1));
    if (listed.empty()) return compile_map(schema, value, pointer);
    FATHOM_ASSIGN_OR_RETURN(const NodeId key, key_not_among(listed, pointer));
    extra = parts_.member(key, value);
  }
  for (const char* keyword : {"minProperties", "maxProperties"}) {
    if (schema.contains(keyword)) {
      return unsupported("{}/{}: this keyword is not supported beside properties", pointer, keyword);
    }
  }
  std::vector<Property> properties;
  for (const auto& [name, property] : listed.items()) {
    const std::string name_pointer = child_pointer(pointer + "/properties", name);
    FATHOM_ASSIGN_OR_RETURN(const NodeId value, compile(property, name_pointer, depth + 1));
    const bool is_required = std::find(required.begin(), required.end(), name) != required.end();
    properties.push_back({parts_.member(grammar_.literal(dump_json(name)), value), is_required});
  }
  return object_of(properties, extra);
}

}  // namespace fathom
