// Sets of Unicode scalar values, and how they look as bytes of UTF-8.
#pragma once

#include <cstdint>
#include <vector>

namespace fathom {

struct CodePointRange {
  char32_t first;
  char32_t last;  // inclusive

  bool operator==(const CodePointRange&) const = default;
};

// Immutable: ranges ascending, disjoint, not adjacent, without surrogates.
class CodePointSet {
 public:
  CodePointSet() = default;
  // Ranges in any order, overlapping or not, with first <= last; what lies above U+10FFFF is left out.
  explicit CodePointSet(std::vector<CodePointRange> ranges);

  const std::vector<CodePointRange>& ranges() const { return ranges_; }
  bool contains(char32_t value) const;
  // All scalar values that are not in the set.
  CodePointSet complement() const;
  CodePointSet minus(const CodePointSet& other) const;

 private:
  std::vector<CodePointRange> ranges_;
};

// One to four bytes, each within a range.
struct ByteSequence {
  int length = 0;
  uint8_t first[4] = {};
  uint8_t last[4] = {};
};

// Sequences that together are exactly the UTF-8 of the set; no two of them have a text in common.
std::vector<ByteSequence> utf8_sequences(const CodePointSet& set);

}  // namespace fathom
