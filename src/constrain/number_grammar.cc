#include "constrain/number_grammar.h"

#include <algorithm>
#include <limits>
#include <string>

namespace fathom {
namespace {

// Ends of magnitudes: an int64_t of either sign has one.
constexpr uint64_t kLargest = uint64_t{1} << 63;
constexpr uint64_t kOpenEnd = 9'999'999'999'999'999;  // kMaxJsonDigits nines

// A double holds 15 digits: with so few after the point, numbers next to a bound below a million do not round
// to it.
constexpr uint32_t kFractionDigits = 9;

// Of magnitudes from low on: kLargest is in use only for the least int64_t itself.
uint64_t open_end(uint64_t low) { return low < kOpenEnd ? kOpenEnd : std::max(low, kLargest - 1); }

uint64_t magnitude(int64_t value) {
  return value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
}

class Digits {
 public:
  Digits(Grammar& grammar, JsonParts& parts) : grammar_(grammar), parts_(parts) {}

  // Whole numbers in [low, high], without leading zeros. Nothing where low > high.
  NodeId between(uint64_t low, uint64_t high) {
    std::vector<NodeId> by_length;
    while (low <= high) {
      const std::string first = std::to_string(low);
      const std::string nines(first.size(), '9');
      const uint64_t last = first.size() >= 20 ? high : std::min<uint64_t>(high, std::stoull(nines));
      by_length.push_back(same_length(first, std::to_string(last)));
      if (last == high) break;
      low = last + 1;
    }
    return grammar_.choice(by_length);
  }

 private:
  NodeId range(char first, char last) {
    return grammar_.set(CodePointSet({{static_cast<char32_t>(first), static_cast<char32_t>(last)}}));
  }
  NodeId any(size_t count) {
    return grammar_.repeat(parts_.digit(), static_cast<uint32_t>(count), static_cast<uint32_t>(count));
  }

  NodeId same_length(std::string_view low, std::string_view high) {
    size_t same = 0;
    while (same < low.size() && low[same] == high[same]) ++same;
    const NodeId prefix = grammar_.literal(low.substr(0, same));
    if (same == low.size()) return prefix;
    const std::string_view low_rest = low.substr(same + 1);
    const std::string_view high_rest = high.substr(same + 1);
    std::vector<NodeId> alternatives;
    alternatives.push_back(
        grammar_.sequence({grammar_.literal(low.substr(same, 1)), bounded(low_rest, Side::kAtLeast)}));
    if (low[same] + 1 < high[same]) {
      const NodeId between = range(static_cast<char>(low[same] + 1), static_cast<char>(high[same] - 1));
      alternatives.push_back(grammar_.sequence({between, any(low_rest.size())}));
    }
    alternatives.push_back(
        grammar_.sequence({grammar_.literal(high.substr(same, 1)), bounded(high_rest, Side::kAtMost)}));
    return grammar_.sequence({prefix, grammar_.choice(alternatives)});
  }

  enum class Side { kAtLeast, kAtMost };
  // As many digits as the bound has, not below or not above it.
  NodeId bounded(std::string_view bound, Side side) {
    NodeId node = grammar_.sequence({});
    for (size_t i = bound.size(); i-- > 0;) {
      std::vector<NodeId> alternatives(1, grammar_.sequence({grammar_.literal(bound.substr(i, 1)), node}));
      const bool at_least = side == Side::kAtLeast;
      if (bound[i] != (at_least ? '9' : '0')) {
        const NodeId free = at_least ? range(static_cast<char>(bound[i] + 1), '9')
                                     : range('0', static_cast<char>(bound[i] - 1));
        alternatives.push_back(grammar_.sequence({free, any(bound.size() - i - 1)}));
      }
      node = grammar_.choice(alternatives);
    }
    return node;
  }

  Grammar& grammar_;
  JsonParts& parts_;
};

struct Magnitudes {
  uint64_t low = 0;
  uint64_t high = 0;
  bool excludes_low = false;
  bool excludes_high = false;
};

// The part of the bounds at or above zero, as magnitudes; the part below it after turn_around().
std::optional<Magnitudes> positive_part(const NumberBounds& bounds) {
  Magnitudes part;
  if (bounds.max && *bounds.max < 0) return std::nullopt;
  if (bounds.min && *bounds.min >= 0) {
    part.low = magnitude(*bounds.min);
    part.excludes_low = bounds.excludes_min;
  }
  part.high = bounds.max ? magnitude(*bounds.max) : open_end(part.low);
  part.excludes_high = bounds.max && bounds.excludes_max;
  return part;
}

std::optional<Magnitudes> negative_part(const NumberBounds& bounds) {
  Magnitudes part;
  if (bounds.min && *bounds.min >= 0) return std::nullopt;
  if (bounds.max && *bounds.max <= 0) {
    part.low = magnitude(*bounds.max);
    part.excludes_low = bounds.excludes_max;
  }
  part.high = bounds.min ? magnitude(*bounds.min) : open_end(part.low);
  part.excludes_high = bounds.min && bounds.excludes_min;
  return part;
}

NodeId whole_numbers(Grammar& grammar, JsonParts& parts, const Magnitudes& part) {
  const uint64_t low = part.low + (part.excludes_low ? 1 : 0);
  if (part.excludes_high && part.high == 0) return grammar.choice({});
  return Digits(grammar, parts).between(low, part.high - (part.excludes_high ? 1 : 0));
}

// low, then [low + 1, high - 1] with any fraction, then high.
NodeId decimal_numbers(Grammar& grammar, JsonParts& parts, const Magnitudes& part) {
  Digits digits(grammar, parts);
  std::vector<NodeId> alternatives;
  if (part.low < part.high) {
    // A fraction that is not zero: zeros, a digit that is none, and any.
    std::vector<NodeId> fractions;
    for (uint32_t zeros = 0; part.excludes_low && zeros < kFractionDigits; ++zeros) {
      fractions.push_back(grammar.sequence({grammar.literal("." + std::string(zeros, '0')),
                                            grammar.set(CodePointSet({{'1', '9'}})),
                                            grammar.repeat(parts.digit(), 0, kFractionDigits - 1 - zeros)}));
    }
    const NodeId after_low =
        part.excludes_low ? grammar.choice(fractions) : grammar.optional(parts.fraction(kFractionDigits));
    alternatives.push_back(grammar.sequence({digits.between(part.low, part.low), after_low}));
    if (part.high - part.low > 1) {
      alternatives.push_back(grammar.sequence(
          {digits.between(part.low + 1, part.high - 1), grammar.optional(parts.fraction(kFractionDigits))}));
    }
  }
  const bool has_high = part.low < part.high
                            ? !part.excludes_high
                            : part.low == part.high && !part.excludes_low && !part.excludes_high;
  if (has_high) {
    const NodeId zeros = grammar.repeat(grammar.literal("0"), 1, kFractionDigits);
    const NodeId fraction = grammar.optional(grammar.sequence({grammar.literal("."), zeros}));
    alternatives.push_back(grammar.sequence({digits.between(part.high, part.high), fraction}));
  }
  return grammar.choice(alternatives);
}

using PartNumbers = NodeId (*)(Grammar&, JsonParts&, const Magnitudes&);

NodeId both_signs(Grammar& grammar, JsonParts& parts, const NumberBounds& bounds, PartNumbers numbers) {
  std::vector<NodeId> alternatives;
  if (const auto part = positive_part(bounds)) alternatives.push_back(numbers(grammar, parts, *part));
  if (auto part = negative_part(bounds)) {
    if (numbers == whole_numbers && part->low == 0) {  // no "-0"
      part->low = 1;
      part->excludes_low = false;
    }
    alternatives.push_back(grammar.sequence({grammar.literal("-"), numbers(grammar, parts, *part)}));
  }
  return grammar.choice(alternatives);
}

}  // namespace

NodeId integer_between(Grammar& grammar, JsonParts& parts, const NumberBounds& bounds) {
  return both_signs(grammar, parts, bounds, whole_numbers);
}

NodeId number_between(Grammar& grammar, JsonParts& parts, const NumberBounds& bounds) {
  return both_signs(grammar, parts, bounds, decimal_numbers);
}

}  // namespace fathom
