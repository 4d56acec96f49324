// Regular expressions of constraints: the part that ECMAScript and Python have in common, over code points.
//
// Literals, `.` (all but \n), alternation, ( ), (?: ), (?<name> ), (?P<name> ), classes with ranges and ^,
// \d \w \s \D \W \S (ASCII), \n \r \t \f \v \0 \xHH \uHHHH \u{H}, a backslash before punctuation, and
// * + ? {m} {m,} {,n} {m,n}, also with ? behind (which of several matches is preferred does not matter here).
// ^ and $ stand at the ends of the pattern or of its outermost alternatives. Refused with their offset:
// lookaround, backreferences, flags, \b, \p, possessive repetition.
#pragma once

#include <string_view>

#include "base/status.h"
#include "constrain/grammar.h"

namespace fathom {

enum class RegexMatch {
  kWhole,   // the whole text matches; ^ and $ say nothing new
  kSearch,  // some part of it does, as in JSON schema; ^ and $ hold it to an end
};
enum class RegexOutput {
  kPlain,
  kJsonString,  // each character as it stands inside a JSON string, in its shortest spelling
};

// Adds to the grammar. Errors name the offset in bytes.
Result<NodeId> parse_regex(std::string_view pattern, RegexMatch match, RegexOutput output, Grammar& grammar);

}  // namespace fathom
