// Grammars in GBNF, as llama.cpp documents it:
//   root ::= "yes" | "no" reason?    # one rule a line; goes on after '|', '::=' and inside parentheses
// Names of letters, digits, - and _; "literals" and [classes] with the escapes \n \r \t \\ \" \[ \] \xHH
// \uHHHH \UHHHHHHHH; . (any character); groups; * + ? {m} {m,} {m,n}. The text matches `root`. Errors name
// the line: no root, a name without a rule, a rule twice, left recursion.
#pragma once

#include <string_view>

#include "base/status.h"
#include "constrain/grammar.h"

namespace fathom {

Result<Grammar> parse_gbnf(std::string_view text);

}  // namespace fathom
