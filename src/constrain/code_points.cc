#include "constrain/code_points.h"

#include <algorithm>
#include <string>

#include "text/utf8.h"

namespace fathom {
namespace {

constexpr char32_t kLast = 0x10ffff;
constexpr CodePointRange kSurrogates = {0xd800, 0xdfff};

void append_clipped(CodePointRange range, std::vector<CodePointRange>& out) {
  range.last = std::min(range.last, kLast);
  if (range.first < kSurrogates.first && range.last > kSurrogates.last) {
    out.push_back({range.first, kSurrogates.first - 1});
    out.push_back({kSurrogates.last + 1, range.last});
    return;
  }
  if (range.first >= kSurrogates.first && range.first <= kSurrogates.last) range.first = kSurrogates.last + 1;
  if (range.last >= kSurrogates.first && range.last <= kSurrogates.last) range.last = kSurrogates.first - 1;
  if (range.first <= range.last) out.push_back(range);
}

ByteSequence encode_range(CodePointRange range) {
  std::string first;
  std::string last;
  append_utf8(range.first, first);
  append_utf8(range.last, last);
  ByteSequence sequence;
  sequence.length = static_cast<int>(first.size());
  for (size_t i = 0; i < first.size(); ++i) {
    sequence.first[i] = static_cast<uint8_t>(first[i]);
    sequence.last[i] = static_cast<uint8_t>(last[i]);
  }
  return sequence;
}

// Where the range has to be cut so that its lower part is one sequence or can be cut further; range.last
// where it is one sequence already (as in Russ Cox, "Regular Expression Matching in the Wild", 2010).
char32_t cut(CodePointRange range) {
  for (const char32_t longest : {0x7fu, 0x7ffu, 0xffffu}) {
    if (range.first <= longest && range.last > longest) return longest;
  }
  if (range.last <= 0x7f) return range.last;
  for (int bits = 6; bits <= 18; bits += 6) {
    const char32_t tail = (char32_t{1} << bits) - 1;
    if ((range.first & ~tail) == (range.last & ~tail)) continue;
    if ((range.first & tail) != 0) return range.first | tail;
    if ((range.last & tail) != tail) return (range.last & ~tail) - 1;
  }
  return range.last;
}

}  // namespace

CodePointSet::CodePointSet(std::vector<CodePointRange> ranges) {
  std::vector<CodePointRange> clipped;
  for (const CodePointRange& range : ranges) append_clipped(range, clipped);
  std::sort(clipped.begin(), clipped.end(),
            [](const CodePointRange& a, const CodePointRange& b) { return a.first < b.first; });
  for (const CodePointRange& range : clipped) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

bool CodePointSet::contains(char32_t value) const {
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), value,
                       [](char32_t v, const CodePointRange& range) { return v < range.first; });
  return after != ranges_.begin() && value <= std::prev(after)->last;
}

CodePointSet CodePointSet::complement() const {
  std::vector<CodePointRange> gaps;
  char32_t next = 0;
  for (const CodePointRange& range : ranges_) {
    if (range.first > next) gaps.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLast) gaps.push_back({next, kLast});
  return CodePointSet(std::move(gaps));
}

CodePointSet CodePointSet::minus(const CodePointSet& other) const {
  std::vector<CodePointRange> outside = complement().ranges();
  outside.insert(outside.end(), other.ranges().begin(), other.ranges().end());
  return CodePointSet(std::move(outside)).complement();
}

std::vector<ByteSequence> utf8_sequences(const CodePointSet& set) {
  std::vector<ByteSequence> sequences;
  for (CodePointRange range : set.ranges()) {
    for (;;) {
      char32_t last = cut(range);
      // A part that is not yet one sequence is cut again, always from its lower end.
      for (char32_t next; (next = cut({range.first, last})) != last;) last = next;
      sequences.push_back(encode_range({range.first, last}));
      if (last == range.last) break;
      range.first = last + 1;
    }
  }
  return sequences;
}

}  // namespace fathom
