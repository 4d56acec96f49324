// Operators, attributes, items and slices, with Python's meaning.
#pragma once

#include <string_view>

#include "base/status.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

// symbol: + - * / // % **
Result<Value> apply_binary(Evaluator& evaluator, std::string_view symbol, const Value& left,
                           const Value& right);
// symbol: == != < <= > >= in "not in"
Result<bool> apply_compare(Evaluator& evaluator, std::string_view symbol, const Value& left,
                           const Value& right);
Result<bool> contains(Evaluator& evaluator, const Value& container, const Value& item);
Result<Value> negate(const Value& value);

// value.name: a method or attribute first, then an item.
Result<Value> get_attribute(Evaluator& evaluator, const Value& value, std::string_view name);
// value[key]: an item first, then an attribute. Undefined where there is neither.
Result<Value> get_item(Evaluator& evaluator, const Value& value, const Value& key);
// value[start:stop:step]; none for a part left out.
struct SliceParts {
  Value start = Value::none();
  Value stop = Value::none();
  Value step = Value::none();
};
Result<Value> get_slice(Evaluator& evaluator, const Value& value, const SliceParts& parts);

// What a loop over the value goes through: items, keys of a dict, characters of a string, nothing for
// undefined. The list lives as long as the evaluator.
Result<const List*> get_items(Evaluator& evaluator, const Value& value);

// text % arguments.
Result<Value> format_printf(Evaluator& evaluator, std::string_view text, const Value& arguments);

}  // namespace fathom::jinja
