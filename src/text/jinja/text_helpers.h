// What string methods and text filters share: results as values, with their size counted before they are
// made.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

// The parts, which lie in a text that lives long enough, as a list of strings.
Result<Value> list_of_texts(Evaluator& evaluator, const std::vector<std::string_view>& parts);

// text.replace(pattern, replacement, limit); limit < 0: all.
Result<Value> replace_text(Evaluator& evaluator, std::string_view text, std::string_view pattern,
                           std::string_view replacement, Integer limit);

// separator.join(texts of the items).
Result<Value> join_texts(Evaluator& evaluator, const List& items, std::string_view separator);

// Limits of loops are 64-bit numbers.
long long clamp_count(Integer value);

}  // namespace fathom::jinja
