// Filters that make numbers: int, float, abs, round, sum.
#include <charconv>
#include <cmath>
#include <optional>

#include "text/jinja/arguments.h"
#include "text/jinja/attribute_path.h"
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/named.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode_text.h"

namespace fathom::jinja {
namespace {

// A number that fits an Integer with room to spare.
constexpr double kLargestReal = 1e36;

std::optional<Integer> parse_integer(std::string_view text) {
  text = strip(text, Side::kBoth, nullptr);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  Integer value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    if (__builtin_mul_overflow(value, Integer{10}, &value)) return std::nullopt;
    if (__builtin_add_overflow(value, Integer{c - '0'}, &value)) return std::nullopt;
  }
  return negative ? -value : value;
}

std::optional<double> parse_real(std::string_view text) {
  text = strip(text, Side::kBoth, nullptr);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Integer> truncated(double value) {
  if (!(std::fabs(value) < kLargestReal)) return std::nullopt;
  return static_cast<Integer>(value);
}

Status refuse_undefined(const Value& value) {
  return value.is_undefined() ? invalid_argument("\"{}\" is undefined", value.name()) : ok_status();
}

Result<Value> to_int(Evaluator&, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"default", "base"}));
  FATHOM_ASSIGN_OR_RETURN(const Integer base, bound.integer(1, 10));
  if (base != 10) return unsupported("a base of {}", base);
  FATHOM_RETURN_IF_ERROR(refuse_undefined(value));
  std::optional<Integer> number;
  if (value.is_integral()) {
    number = value.as_integer();
  } else if (value.is_number()) {
    number = truncated(value.as_real());
  } else if (value.is_string()) {
    number = parse_integer(value.as_string());
    const std::optional<double> real = number ? std::nullopt : parse_real(value.as_string());
    if (real) number = truncated(*real);
  }
  if (number) return Value::integer(*number);
  return bound.has(0) ? bound[0] : Value::integer(0);
}

Result<Value> to_float(Evaluator&, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"default"}));
  FATHOM_RETURN_IF_ERROR(refuse_undefined(value));
  if (value.is_number()) return Value::real(value.as_real());
  const std::optional<double> real = value.is_string() ? parse_real(value.as_string()) : std::nullopt;
  if (real) return Value::real(*real);
  return bound.has(0) ? bound[0] : Value::real(0);
}

Result<Value> absolute(Evaluator&, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  if (!value.is_number()) return invalid_argument("a {} is no number", type_name(value));
  if (!value.is_integral()) return Value::real(std::fabs(value.as_real()));
  if (value.as_integer() < 0) return negate(value);
  return Value::integer(value.as_integer());
}

// Ties go to the even neighbour, in decimal digits as Python rounds.
double round_common(double value, int precision) {
  if (precision < 0) {
    const double scale = std::pow(10.0, -precision);
    return std::nearbyint(value / scale) * scale;
  }
  const std::string text = fmt::format("{:.{}f}", value, precision);
  double rounded = value;
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return rounded;
}

Result<Value> round(Evaluator&, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"precision", "method"}));
  FATHOM_ASSIGN_OR_RETURN(const Integer precision, bound.integer(0, 0));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view method, bound.text(1, "common"));
  if (!value.is_number()) return invalid_argument("a {} is no number", type_name(value));
  constexpr Integer kMaxPrecision = 100;
  if (precision < -kMaxPrecision || precision > kMaxPrecision) {
    return invalid_argument("a precision of {} is out of range", precision);
  }
  const auto digits = static_cast<int>(precision);
  if (method == "common") {
    if (value.is_integral() && digits >= 0) return Value::integer(value.as_integer());
    return Value::real(round_common(value.as_real(), digits));
  }
  const double scale = std::pow(10.0, digits);
  if (method == "ceil") return Value::real(std::ceil(value.as_real() * scale) / scale);
  if (method == "floor") return Value::real(std::floor(value.as_real() * scale) / scale);
  return invalid_argument("method is \"{}\", not common, ceil or floor", method);
}

Result<Value> sum(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"attribute", "start"}));
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items(evaluator, value));
  Value total = bound.has(1) ? bound[1] : Value::integer(0);
  for (const Value& item : *items) {
    FATHOM_RETURN_IF_ERROR(evaluator.arena().step());
    FATHOM_ASSIGN_OR_RETURN(const Value member, follow_path(evaluator, item, bound[0]));
    FATHOM_ASSIGN_OR_RETURN(total, apply_binary(evaluator, "+", total, member));
  }
  return total;
}

constexpr Named<FilterFunction> kNumberFilters[] = {
    {"int", to_int}, {"float", to_float}, {"abs", absolute}, {"round", round}, {"sum", sum},
};

}  // namespace

FilterFunction find_number_filter(std::string_view name) { return find_named(kNumberFilters, name); }

}  // namespace fathom::jinja
