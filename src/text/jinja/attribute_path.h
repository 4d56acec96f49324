// The "attribute" argument of filters: "name", "outer.inner", "items.0" or a number.
#pragma once

#include "base/status.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

enum class LetterCase { kKept, kIgnored };

// What the path leads to from value; absent is given back in place of an undefined result. An undefined or
// none path is the value itself.
Result<Value> follow_path(Evaluator& evaluator, const Value& value, const Value& path,
                          const Value& absent = Value());

// The same, in lower case if it is text and letter case is ignored: what values are ordered and grouped by.
Result<Value> sort_key(Evaluator& evaluator, const Value& value, const Value& path, LetterCase letter_case,
                       const Value& absent = Value());

}  // namespace fathom::jinja
