// Patterns of tokenizer.json, written for Oniguruma with Ruby syntax, as PCRE2 patterns of the same meaning.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom {

// Compile the result with UTF, UCP and MULTILINE, newline LF. What the two engines would read differently is
// either rewritten (\s: PCRE2 counts U+180E as a space, Oniguruma does not) or refused by name; the
// constructs of the DeepSeek and GPT-2 families pass: literals, classes without nesting, \s \S \d \D \r \n
// \t, \p{..} with a general category, groups, lookaround, alternation, greedy, lazy and possessive repeats.
Result<std::string> translate_regex(std::string_view pattern);

}  // namespace fathom
