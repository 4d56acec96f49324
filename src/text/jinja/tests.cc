// The tests: {{ value is name }}.
#include "text/jinja/arguments.h"
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/format.h"
#include "text/jinja/named.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode_text.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

using ValueKind = Value::Kind;
using Predicate = bool (*)(const Value& value);

// Those that look at nothing but the value's type.
struct TypeTest {
  std::string_view name;
  Predicate holds;
};

constexpr TypeTest kTypeTests[] = {
    {"defined", [](const Value& v) { return !v.is_undefined(); }},
    {"undefined", [](const Value& v) { return v.is_undefined(); }},
    {"none", [](const Value& v) { return v.is_none(); }},
    {"boolean", [](const Value& v) { return v.kind() == ValueKind::kBool; }},
    {"true", [](const Value& v) { return v.kind() == ValueKind::kBool && v.as_bool(); }},
    {"false", [](const Value& v) { return v.kind() == ValueKind::kBool && !v.as_bool(); }},
    {"integer", [](const Value& v) { return v.kind() == ValueKind::kInteger; }},
    {"float", [](const Value& v) { return v.kind() == ValueKind::kFloat; }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"string", [](const Value& v) { return v.is_string(); }},
    {"mapping", [](const Value& v) { return v.is_dict(); }},
    {"sequence",
     [](const Value& v) { return v.is_sequence() || v.is_string() || v.is_dict() || v.is_undefined(); }},
    {"iterable",
     [](const Value& v) { return v.is_sequence() || v.is_string() || v.is_dict() || v.is_undefined(); }},
    {"callable", [](const Value& v) { return v.kind() == ValueKind::kCallable || v.is_undefined(); }},
};

template <size_t kIndex>
Result<bool> test_type(Evaluator&, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  return kTypeTests[kIndex].holds(value);
}

template <size_t... kIndices>
TestFunction type_test(size_t index, std::index_sequence<kIndices...>) {
  constexpr TestFunction kFunctions[] = {test_type<kIndices>...};
  return kFunctions[index];
}

// value % divisor, as the operator.
Result<Value> remainder(Evaluator& evaluator, const Value& value, const Value& divisor) {
  return apply_binary(evaluator, "%", value, divisor);
}

Result<bool> odd(Evaluator& evaluator, const Value& value, const Arguments&) {
  FATHOM_ASSIGN_OR_RETURN(const Value rest, remainder(evaluator, value, Value::integer(2)));
  return equals(rest, Value::integer(1));
}

Result<bool> even(Evaluator& evaluator, const Value& value, const Arguments&) {
  FATHOM_ASSIGN_OR_RETURN(const Value rest, remainder(evaluator, value, Value::integer(2)));
  return equals(rest, Value::integer(0));
}

Result<bool> divisible_by(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"num"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const Value rest, remainder(evaluator, value, bound[0]));
  return equals(rest, Value::integer(0));
}

Result<bool> same_as(Evaluator&, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"other"}, 1));
  return value.same_as(bound[0]);
}

// Whether the value as text has a letter with case and mapping all letters changes nothing.
Result<bool> all_in_case(Evaluator& evaluator, const Value& value, std::string (*map)(std::string_view)) {
  FATHOM_ASSIGN_OR_RETURN(const std::string text, to_text(evaluator.arena(), value));
  bool any = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    any = any || has_case(point.value);
    i += point.length;
  }
  return any && map(text) == text;
}

Result<bool> lower(Evaluator& evaluator, const Value& value, const Arguments&) {
  return all_in_case(evaluator, value, to_lower);
}

Result<bool> upper(Evaluator& evaluator, const Value& value, const Arguments&) {
  return all_in_case(evaluator, value, to_upper);
}

// Names of comparisons, each with its symbol.
enum class Comparison { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn };

template <Comparison kComparison>
Result<bool> compare(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  constexpr std::string_view kSymbols[] = {"==", "!=", "<", "<=", ">", ">=", "in"};
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"other"}, 1));
  return apply_compare(evaluator, kSymbols[static_cast<size_t>(kComparison)], value, bound[0]);
}

Result<bool> is_filter(Evaluator&, const Value& value, const Arguments&) {
  return value.is_string() && find_filter(value.as_string()) != nullptr;
}

Result<bool> is_test(Evaluator&, const Value& value, const Arguments&) {
  return value.is_string() && find_test(value.as_string()) != nullptr;
}

constexpr Named<TestFunction> kTests[] = {
    {"odd", odd},
    {"even", even},
    {"divisibleby", divisible_by},
    {"sameas", same_as},
    {"lower", lower},
    {"upper", upper},
    {"filter", is_filter},
    {"test", is_test},
    {"in", compare<Comparison::kIn>},
    {"eq", compare<Comparison::kEqual>},
    {"equalto", compare<Comparison::kEqual>},
    {"==", compare<Comparison::kEqual>},
    {"ne", compare<Comparison::kNotEqual>},
    {"!=", compare<Comparison::kNotEqual>},
    {"lt", compare<Comparison::kLess>},
    {"lessthan", compare<Comparison::kLess>},
    {"<", compare<Comparison::kLess>},
    {"le", compare<Comparison::kLessEqual>},
    {"<=", compare<Comparison::kLessEqual>},
    {"gt", compare<Comparison::kGreater>},
    {"greaterthan", compare<Comparison::kGreater>},
    {">", compare<Comparison::kGreater>},
    {"ge", compare<Comparison::kGreaterEqual>},
    {">=", compare<Comparison::kGreaterEqual>},
};

}  // namespace

TestFunction find_test(std::string_view name) {
  constexpr size_t kNumTypeTests = std::size(kTypeTests);
  for (size_t i = 0; i < kNumTypeTests; ++i) {
    if (kTypeTests[i].name == name) return type_test(i, std::make_index_sequence<kNumTypeTests>());
  }
  return find_named(kTests, name);
}

}  // namespace fathom::jinja
