// JSON numbers between bounds, digit by digit.
#pragma once

#include <cstdint>
#include <optional>

#include "constrain/json_grammar.h"

namespace fathom {

// Of a number or integer; both ends inclusive unless said.
struct NumberBounds {
  std::optional<int64_t> min;
  std::optional<int64_t> max;
  bool excludes_min = false;
  bool excludes_max = false;

  bool none() const { return !min && !max; }
};

// Integers within bounds, written without a point or exponent, of 16 digits where the other side is open.
NodeId integer_between(Grammar& grammar, JsonParts& parts, const NumberBounds& bounds);

// Numbers within bounds, with up to 9 digits after the point, without an exponent.
NodeId number_between(Grammar& grammar, JsonParts& parts, const NumberBounds& bounds);

}  // namespace fathom
