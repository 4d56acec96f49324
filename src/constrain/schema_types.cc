// Strings, numbers and arrays of a schema.
#include <cmath>
#include <optional>
#include <string>

#include "constrain/limits.h"
#include "constrain/regex_parser.h"
#include "constrain/schema_compiler.h"
#include "constrain/schema_context.h"

namespace fathom {
namespace {

// A regular expression for each format: a part of what it allows, where not the whole. Empty for others.
std::string format_pattern(std::string_view name) {
  const std::string days =
      "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|"
      "02-(?:0[1-9]|1[0-9]|2[0-8]))";
  const std::string leap_year =
      "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)";
  const std::string date = "(?:[0-9]{4}-" + days + "|" + leap_year + "-02-29)";
  const std::string hour_minute = "(?:[01][0-9]|2[0-3]):[0-5][0-9]";
  const std::string time = hour_minute + ":[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-]" + hour_minute + ")";
  const std::string label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  if (name == "date") return date;
  if (name == "time") return time;
  if (name == "date-time") return date + "T" + time;
  if (name == "duration") {
    const std::string clock = "T(?:NH(?:NM(?:NS)?)?|NM(?:NS)?|NS)";
    const std::string days_and_more = "(?:NY(?:NM(?:ND)?)?|NM(?:ND)?|ND)";
    std::string pattern = "P(?:NW|" + days_and_more + "(?:" + clock + ")?|" + clock + ")";
    for (size_t i; (i = pattern.find('N')) != std::string::npos;) pattern.replace(i, 1, "[0-9]{1,4}");
    return pattern;
  }
  if (name == "email") {
    return "[A-Za-z0-9_+-]+(?:\\.[A-Za-z0-9_+-]+)*@" + label + "(?:\\." + label + ")+";
  }
  if (name == "hostname") return label + "(?:\\." + label + ")*";
  if (name == "ipv4") {
    const std::string byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    return byte + "(?:\\." + byte + "){3}";
  }
  if (name == "ipv6") {
    const std::string group = "[0-9A-Fa-f]{1,4}";
    return "(?:" + group + ":){7}" + group + "|::(?:" + group + "(?::" + group + "){0,5})?|" + group +
           "::(?:" + group + "(?::" + group + "){0,4})?";
  }
  if (name == "uri") return "[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~:/?#@!$&'()*+,;=-]+";
  if (name == "uuid") return "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}";
  return "";
}

// A double holds every whole number up to here.
constexpr double kLargestWholeDouble = 9007199254740992.0;

enum class Side { kLower, kUpper };
struct Bound {
  int64_t value;
  bool is_excluded;
};

// As a whole number; a fractional bound of integers is rounded inwards.
Result<int64_t> read_bound(const Json& value, NumberType type, Side side, const std::string& pointer) {
  if (!value.is_number()) return invalid_argument("{}: has to be a number", pointer);
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) {
    return unsupported("{}: {} is over the limit of {}", pointer, value.get<uint64_t>(), INT64_MAX);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  const double bound = value.get<double>();
  if (std::abs(bound) > kLargestWholeDouble) {
    return unsupported("{}: {} is over the limit of {}", pointer, bound, kLargestWholeDouble);
  }
  const double inwards = side == Side::kLower ? std::ceil(bound) : std::floor(bound);
  if (bound != inwards && type == NumberType::kNumber) {
    return unsupported("{}: {} is not whole, which is supported for integers only", pointer, bound);
  }
  return static_cast<int64_t>(inwards);
}

// The stricter one of the inclusive and the exclusive keyword.
Result<std::optional<Bound>> find_bound(const Json& schema, NumberType type, Side side,
                                        const std::string& pointer) {
  std::optional<Bound> strictest;
  const bool is_lower = side == Side::kLower;
  for (const char* keyword :
       {is_lower ? "minimum" : "maximum", is_lower ? "exclusiveMinimum" : "exclusiveMaximum"}) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    FATHOM_ASSIGN_OR_RETURN(const int64_t value, read_bound(*found, type, side, pointer + "/" + keyword));
    const Bound bound = {value, keyword[0] == 'e' && *found == value};
    if (!strictest || (is_lower ? bound.value > strictest->value : bound.value < strictest->value)) {
      strictest = bound;
    } else if (bound.value == strictest->value) {
      strictest->is_excluded |= bound.is_excluded;
    }
  }
  return strictest;
}

}  // namespace

Result<uint32_t> SchemaCompiler::count_of(const Json& schema, const char* keyword, uint32_t otherwise,
                                          const std::string& pointer) const {
  const auto found = schema.find(keyword);
  if (found == schema.end()) return otherwise;
  if (!found->is_number_unsigned()) {
    return invalid_argument("{}/{}: has to be a whole number, not negative", pointer, keyword);
  }
  if (found->get<uint64_t>() > kMaxRepetition) {
    return invalid_argument("{}/{}: {} is over the limit of {}", pointer, keyword, found->get<uint64_t>(),
                            kMaxRepetition);
  }
  return found->get<uint32_t>();
}

Result<NodeId> SchemaCompiler::compile_string(const Json& schema, const std::string& pointer) {
  const bool has_pattern = schema.contains("pattern");
  const bool has_format = schema.contains("format");
  const bool has_length = schema.contains("minLength") || schema.contains("maxLength");
  if (has_pattern + has_format + has_length > 1) {
    return unsupported("{}: only one of pattern, format and a length is supported", pointer);
  }
  if (!has_pattern && !has_format) {
    FATHOM_ASSIGN_OR_RETURN(const uint32_t min, count_of(schema, "minLength", 0, pointer));
    FATHOM_ASSIGN_OR_RETURN(const uint32_t max, count_of(schema, "maxLength", kUnbounded, pointer));
    if (min > max) return grammar_.choice({});
    return parts_.string(min, max);
  }
  const char* keyword = has_pattern ? "pattern" : "format";
  const Json& value = schema[keyword];
  if (!value.is_string()) return invalid_argument("{}/{}: has to be a string", pointer, keyword);
  const std::string pattern =
      has_pattern ? value.get<std::string>() : format_pattern(value.get<std::string>());
  if (has_format && pattern.empty()) {
    return unsupported("{}/format: \"{}\" is not supported", pointer, value.get<std::string>());
  }
  const RegexMatch match = has_pattern ? RegexMatch::kSearch : RegexMatch::kWhole;
  const Result<NodeId> body = parse_regex(pattern, match, RegexOutput::kJsonString, grammar_);
  if (!body.ok()) return body.status().with_context(fmt::format("{}/{}", pointer, keyword));
  const NodeId quote = grammar_.literal("\"");
  return grammar_.sequence({quote, *body, quote});
}

Result<NodeId> SchemaCompiler::compile_number(const Json& schema, const std::string& pointer,
                                              NumberType type) {
  FATHOM_ASSIGN_OR_RETURN(const auto lower, find_bound(schema, type, Side::kLower, pointer));
  FATHOM_ASSIGN_OR_RETURN(const auto upper, find_bound(schema, type, Side::kUpper, pointer));
  NumberBounds bounds;
  if (lower) {
    bounds.min = lower->value;
    bounds.excludes_min = lower->is_excluded;
  }
  if (upper) {
    bounds.max = upper->value;
    bounds.excludes_max = upper->is_excluded;
  }
  if (type == NumberType::kInteger) {
    return bounds.none() ? parts_.integer() : integer_between(grammar_, parts_, bounds);
  }
  return bounds.none() ? parts_.number() : number_between(grammar_, parts_, bounds);
}

Result<NodeId> SchemaCompiler::compile_array(const Json& schema, const std::string& pointer, int depth) {
  if (schema.contains("uniqueItems") && schema["uniqueItems"] != false) {
    return unsupported("{}/uniqueItems: this keyword is not supported", pointer);
  }
  FATHOM_ASSIGN_OR_RETURN(const uint32_t min, count_of(schema, "minItems", 0, pointer));
  FATHOM_ASSIGN_OR_RETURN(const uint32_t max, count_of(schema, "maxItems", kUnbounded, pointer));
  if (min > max) return grammar_.choice({});
  const bool has_prefix = schema.contains("prefixItems");
  const Json items = schema.value("items", Json(!has_prefix));
  if (items.is_array()) return unsupported("{}/items: a list is not supported (use prefixItems)", pointer);
  FATHOM_ASSIGN_OR_RETURN(const NodeId item, compile(items, pointer + "/items", depth + 1));
  if (!has_prefix) return parts_.list("[", item, min, max, "]");

  const Json& prefix = schema["prefixItems"];
  if (!prefix.is_array() || prefix.empty()) {
    return invalid_argument("{}/prefixItems: has to be a list with members", pointer);
  }
  if (prefix.size() > kMaxSchemaPrefixItems) {
    return invalid_argument("{}/prefixItems: {} items are over the limit of {}", pointer, prefix.size(),
                            kMaxSchemaPrefixItems);
  }
  // From the last one backwards: what may follow item i, after a comma.
  const NodeId comma = grammar_.sequence({grammar_.literal(","), parts_.space()});
  const auto listed = static_cast<uint32_t>(prefix.size());
  const uint32_t more_min = min > listed ? min - listed : 0;
  const uint32_t more_max = max == kUnbounded ? kUnbounded : max > listed ? max - listed : 0;
  NodeId rest = grammar_.repeat(grammar_.sequence({comma, item}), more_min, more_max);
  for (uint32_t i = listed; i-- > 0;) {
    FATHOM_ASSIGN_OR_RETURN(NodeId own,
                            compile(prefix[i], fmt::format("{}/prefixItems/{}", pointer, i), depth + 1));
    if (i > 0) {
      own = grammar_.sequence({comma, own});
    } else {
      rest = grammar_.sequence({rest, parts_.space()});
    }
    rest = i < max ? grammar_.sequence({own, rest}) : grammar_.sequence({});
    if (i >= min && i < max) rest = grammar_.optional(rest);
  }
  return grammar_.sequence({grammar_.literal("["), parts_.space(), rest, grammar_.literal("]")});
}

}  // namespace fathom
