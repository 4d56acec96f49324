#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/unicode_text.h"

namespace fathom::jinja {
namespace {

using ValueKind = Value::Kind;

// Looking at this many items of a list costs one step.
constexpr size_t kItemsPerStep = 16;

Status mismatch(std::string_view symbol, const Value& left, const Value& right) {
  for (const Value* side : {&left, &right}) {
    if (side->is_undefined()) return invalid_argument("\"{}\" is undefined", side->name());
  }
  return invalid_argument("{} {} {} is not possible", type_name(left), symbol, type_name(right));
}

Status overflow() { return invalid_argument("an integer is out of range"); }

Result<Value> power(const Value& left, const Value& right) {
  if (!is_true(left) && right.as_real() < 0) return invalid_argument("0 to a negative power");
  if (!left.is_integral() || !right.is_integral() || right.as_integer() < 0) {
    return Value::real(std::pow(left.as_real(), right.as_real()));
  }
  const Integer base = left.as_integer();
  Integer exponent = right.as_integer();
  if (base == 0 || base == 1) return Value::integer(exponent == 0 ? 1 : base);
  if (base == -1) return Value::integer(exponent % 2 == 0 ? 1 : -1);
  Integer result = 1;
  for (; exponent > 0; --exponent) {  // overflows within 127 rounds
    if (__builtin_mul_overflow(result, base, &result)) return overflow();
  }
  return Value::integer(result);
}

// Rounded down, as Python's // and % are.
Result<Value> divide(std::string_view symbol, const Value& left, const Value& right) {
  if (is_true(right) == false) return invalid_argument("division by zero");
  if (symbol == "/") return Value::real(left.as_real() / right.as_real());
  if (left.is_integral() && right.is_integral()) {
    const Integer a = left.as_integer();
    const Integer b = right.as_integer();
    if (b == -1) {
      if (symbol == "%") return Value::integer(0);
      return negate(Value::integer(a));
    }
    const bool lower = a % b != 0 && (a % b < 0) != (b < 0);
    return Value::integer(symbol == "//" ? a / b - (lower ? 1 : 0) : a % b + (lower ? b : 0));
  }
  const double quotient = std::floor(left.as_real() / right.as_real());
  if (symbol == "//") return Value::real(quotient);
  double rest = std::fmod(left.as_real(), right.as_real());
  if (rest != 0 && (rest < 0) != (right.as_real() < 0)) rest += right.as_real();
  return Value::real(rest);
}

Result<Value> arithmetic(std::string_view symbol, const Value& left, const Value& right) {
  if (symbol == "**") return power(left, right);
  if (symbol == "/" || symbol == "//" || symbol == "%") return divide(symbol, left, right);
  if (left.is_integral() && right.is_integral()) {
    Integer result = 0;
    const Integer a = left.as_integer();
    const Integer b = right.as_integer();
    const bool failed = symbol == "+"   ? __builtin_add_overflow(a, b, &result)
                        : symbol == "-" ? __builtin_sub_overflow(a, b, &result)
                                        : __builtin_mul_overflow(a, b, &result);
    if (failed) return overflow();
    return Value::integer(result);
  }
  const double a = left.as_real();
  const double b = right.as_real();
  return Value::real(symbol == "+" ? a + b : symbol == "-" ? a - b : a * b);
}

Result<Value> join_sequences(Arena& arena, const Value& left, const Value& right) {
  const List& a = left.as_list();
  const List& b = right.as_list();
  FATHOM_RETURN_IF_ERROR(arena.step((a.size() + b.size()) / kItemsPerStep));
  List joined = a;
  joined.insert(joined.end(), b.begin(), b.end());
  return left.kind() == ValueKind::kList ? arena.make_list(std::move(joined))
                                         : arena.make_tuple(std::move(joined));
}

// A text or list, times over.
Result<Value> repeat(Arena& arena, const Value& value, Integer times) {
  const size_t count = times < 0 ? 0 : static_cast<size_t>(std::min<Integer>(times, Integer{1} << 40));
  const size_t size = value.is_string() ? value.as_string().size() : value.as_list().size() * sizeof(Value);
  if (size > 0 && count > arena.limits().max_memory_bytes / size) {
    return resource_exhausted("{} bytes repeated {} times are over the limit of {} bytes", size, count,
                              arena.limits().max_memory_bytes);
  }
  FATHOM_RETURN_IF_ERROR(arena.charge(size * count));
  if (value.is_string()) {
    std::string text;
    text.reserve(size * count);
    if (size > 0) {
      for (size_t i = 0; i < count; ++i) text += value.as_string();
    }
    return arena.keep_charged(std::move(text));
  }
  List items;
  if (size > 0) {
    for (size_t i = 0; i < count; ++i)
      items.insert(items.end(), value.as_list().begin(), value.as_list().end());
  }
  return value.kind() == ValueKind::kList ? arena.make_list(std::move(items))
                                          : arena.make_tuple(std::move(items));
}

// Position in [0, size) of an index that counts from the end if negative; nothing if outside.
std::optional<size_t> position(Integer index, size_t size) {
  const auto count = static_cast<Integer>(size);
  if (index < 0) index += count;
  if (index < 0 || index >= count) return std::nullopt;
  return static_cast<size_t>(index);
}

Result<Value> find_item(Evaluator& evaluator, const Value& value, const Value& key) {
  if (value.is_dict()) {
    if (!Dict::can_be_key(key)) return Value::undefined("item");
    const Value* found = value.as_dict().find(key);
    return found != nullptr ? *found : Value::undefined(key.is_string() ? key.as_string() : "item");
  }
  if (value.is_sequence() && key.is_integral()) {
    const auto index = position(key.as_integer(), value.as_list().size());
    return index ? value.as_list()[*index] : Value::undefined("item");
  }
  if (value.is_string() && key.is_integral()) {
    FATHOM_RETURN_IF_ERROR(evaluator.arena().scan(value.as_string().size()));
    const std::vector<std::string_view> characters = split_characters(value.as_string());
    const auto index = position(key.as_integer(), characters.size());
    return index ? Value::string(characters[*index]) : Value::undefined("item");
  }
  return Value::undefined(key.is_string() ? key.as_string() : "item");
}

Result<Value> find_attribute(Evaluator& evaluator, const Value& value, std::string_view name) {
  if (name.starts_with('_')) return Value::undefined(name);
  if (value.kind() == ValueKind::kCallable) return value.as_callable().attribute(evaluator, name);
  if (value.kind() == ValueKind::kNamespace) {
    const auto& members = value.as_namespace().members;
    const auto found = members.find(name);
    return found != members.end() ? found->second : Value::undefined(name);
  }
  const Method method = find_method(value, name);
  if (method != nullptr) return make_method(evaluator, value, method);
  return Value::undefined(name);
}

Status undefined_error(const Value& value, std::string_view member) {
  return invalid_argument("\"{}\" is undefined and has no \"{}\"", value.name(), member);
}

// One bound of a slice, as Python's slice.indices() makes it.
Result<Integer> slice_bound(const Value& part, Integer absent, Integer low, Integer high, Integer size) {
  if (part.is_none()) return absent;
  if (!part.is_integral()) return invalid_argument("a slice with a {}", type_name(part));
  Integer bound = part.as_integer();
  if (bound < 0) bound += size;
  return std::clamp(bound, low, high);
}

Result<std::vector<size_t>> slice_positions(const SliceParts& parts, size_t count) {
  const auto size = static_cast<Integer>(count);
  Integer step = 1;
  if (!parts.step.is_none()) {
    if (!parts.step.is_integral()) return invalid_argument("a slice with a {}", type_name(parts.step));
    step = std::clamp<Integer>(parts.step.as_integer(), -size - 1, size + 1);
  }
  if (step == 0) return invalid_argument("a slice with a step of 0");
  const Integer low = step > 0 ? 0 : -1;
  const Integer high = step > 0 ? size : size - 1;
  FATHOM_ASSIGN_OR_RETURN(const Integer start,
                          slice_bound(parts.start, step > 0 ? low : high, low, high, size));
  FATHOM_ASSIGN_OR_RETURN(const Integer stop,
                          slice_bound(parts.stop, step > 0 ? high : low, low, high, size));
  std::vector<size_t> positions;
  for (Integer i = start; step > 0 ? i < stop : i > stop; i += step)
    positions.push_back(static_cast<size_t>(i));
  return positions;
}

}  // namespace

Result<Value> negate(const Value& value) {
  if (!value.is_integral()) return Value::real(-value.as_real());
  Integer result = 0;
  if (__builtin_sub_overflow(Integer{0}, value.as_integer(), &result)) return overflow();
  return Value::integer(result);
}

Result<Value> apply_binary(Evaluator& evaluator, std::string_view symbol, const Value& left,
                           const Value& right) {
  Arena& arena = evaluator.arena();
  if (left.is_number() && right.is_number()) return arithmetic(symbol, left, right);
  if (symbol == "+" && left.is_string() && right.is_string()) {
    FATHOM_RETURN_IF_ERROR(arena.charge(left.as_string().size() + right.as_string().size()));
    std::string text(left.as_string());
    text += right.as_string();
    return arena.keep_charged(std::move(text));
  }
  if (symbol == "+" && left.is_sequence() && left.kind() == right.kind())
    return join_sequences(arena, left, right);
  if (symbol == "*" && right.is_integral() && (left.is_string() || left.is_sequence())) {
    return repeat(arena, left, right.as_integer());
  }
  if (symbol == "*" && left.is_integral() && (right.is_string() || right.is_sequence())) {
    return repeat(arena, right, left.as_integer());
  }
  if (symbol == "%" && left.is_string()) return format_printf(evaluator, left.as_string(), right);
  return mismatch(symbol, left, right);
}

Result<bool> apply_compare(Evaluator& evaluator, std::string_view symbol, const Value& left,
                           const Value& right) {
  const auto size = [](const Value& value) {
    return value.is_string()     ? value.as_string().size()
           : value.is_sequence() ? value.as_list().size() * 64
                                 : 0;
  };
  FATHOM_RETURN_IF_ERROR(evaluator.arena().scan(std::min(size(left), size(right))));
  if (symbol == "in") return contains(evaluator, right, left);
  if (symbol == "not in") {
    FATHOM_ASSIGN_OR_RETURN(const bool found, contains(evaluator, right, left));
    return !found;
  }
  if (symbol == "==" || symbol == "!=") {
    FATHOM_ASSIGN_OR_RETURN(const bool equal, equals(left, right));
    return equal == (symbol == "==");
  }
  if (left.is_undefined() || right.is_undefined()) return mismatch(symbol, left, right);
  if (symbol == "<") return less_than(left, right);
  if (symbol == ">") return less_than(right, left);
  // Not "not less": a NaN is on no side.
  FATHOM_ASSIGN_OR_RETURN(const bool less, symbol == "<=" ? less_than(left, right) : less_than(right, left));
  if (less) return true;
  return equals(left, right);
}

Result<bool> contains(Evaluator& evaluator, const Value& container, const Value& item) {
  Arena& arena = evaluator.arena();
  if (container.is_undefined()) return false;
  if (container.is_string()) {
    if (!item.is_string()) return mismatch("in", item, container);
    FATHOM_RETURN_IF_ERROR(arena.scan(container.as_string().size()));
    return container.as_string().find(item.as_string()) != std::string_view::npos;
  }
  if (container.is_dict()) return Dict::can_be_key(item) && container.as_dict().find(item) != nullptr;
  if (!container.is_sequence()) return mismatch("in", item, container);
  FATHOM_RETURN_IF_ERROR(arena.step(container.as_list().size() / kItemsPerStep));
  for (const Value& candidate : container.as_list()) {
    FATHOM_ASSIGN_OR_RETURN(const bool equal, equals(candidate, item));
    if (equal) return true;
  }
  return false;
}

Result<Value> get_attribute(Evaluator& evaluator, const Value& value, std::string_view name) {
  if (value.is_undefined()) return undefined_error(value, name);
  FATHOM_ASSIGN_OR_RETURN(const Value attribute, find_attribute(evaluator, value, name));
  if (!attribute.is_undefined() || !value.is_dict()) return attribute;
  return find_item(evaluator, value, Value::string(name));
}

Result<Value> get_item(Evaluator& evaluator, const Value& value, const Value& key) {
  if (value.is_undefined()) return undefined_error(value, key.is_string() ? key.as_string() : "item");
  FATHOM_ASSIGN_OR_RETURN(const Value item, find_item(evaluator, value, key));
  if (!item.is_undefined() || !key.is_string()) return item;
  if (value.is_dict() && value.as_dict().find(key) != nullptr) return item;
  return find_attribute(evaluator, value, key.as_string());
}

Result<Value> get_slice(Evaluator& evaluator, const Value& value, const SliceParts& parts) {
  Arena& arena = evaluator.arena();
  if (value.is_undefined()) return undefined_error(value, "slice");
  if (value.is_string()) {
    FATHOM_RETURN_IF_ERROR(arena.scan(value.as_string().size()));
    const std::vector<std::string_view> characters = split_characters(value.as_string());
    FATHOM_ASSIGN_OR_RETURN(const std::vector<size_t> positions, slice_positions(parts, characters.size()));
    std::string text;
    for (const size_t i : positions) text += characters[i];
    return arena.make_string(std::move(text));
  }
  if (!value.is_sequence()) return invalid_argument("a {} cannot be sliced", type_name(value));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<size_t> positions,
                          slice_positions(parts, value.as_list().size()));
  List items;
  items.reserve(positions.size());
  for (const size_t i : positions) items.push_back(value.as_list()[i]);
  return value.kind() == ValueKind::kList ? arena.make_list(std::move(items))
                                          : arena.make_tuple(std::move(items));
}

Result<const List*> get_items(Evaluator& evaluator, const Value& value) {
  if (value.is_sequence()) return &value.as_list();
  List items;
  if (value.is_dict()) {
    for (const auto& [key, member] : value.as_dict().entries()) items.push_back(key);
  } else if (value.is_string()) {
    // Charged first: a character takes more as a value than in the text.
    FATHOM_RETURN_IF_ERROR(evaluator.arena().charge(count_code_points(value.as_string()) * sizeof(Value)));
    for (const std::string_view character : split_characters(value.as_string())) {
      items.push_back(Value::string(character));
    }
  } else if (!value.is_undefined()) {
    return invalid_argument("a {} is nothing to loop over", type_name(value));
  }
  FATHOM_ASSIGN_OR_RETURN(const Value list, evaluator.arena().make_list(std::move(items)));
  return &list.as_list();
}

}  // namespace fathom::jinja
