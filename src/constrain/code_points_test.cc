#include "constrain/code_points.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "text/utf8.h"

namespace fathom {
namespace {

CodePointSet random_set(uint64_t seed) {
  // Ends near those of the lengths of UTF-8 and of the surrogates, and anywhere.
  const char32_t near[] = {0x00,   0x7f,   0x80,    0x7ff,   0x800,   0xd7ff,
                           0xe000, 0xffff, 0x10000, 0x3ffff, 0x10ffff};
  std::vector<CodePointRange> ranges;
  for (uint64_t i = 0; i < 1 + seed % 3; ++i) {
    const auto end = [&](uint64_t n) {
      const uint64_t bits = random_bits(seed, 4 * i + n);
      const auto around = static_cast<char32_t>((near[bits % 11] + bits / 16 % 131) - 65);
      return (bits >> 40) % 3 == 0 ? static_cast<char32_t>(bits % 0x110000)
                                   : std::min<char32_t>(around, 0x10ffff);
    };
    const char32_t a = end(0);
    const char32_t b = end(1);
    ranges.push_back({std::min(a, b), std::max(a, b)});
  }
  return CodePointSet(std::move(ranges));
}

int count_matches(const std::vector<ByteSequence>& sequences, std::string_view text) {
  int count = 0;
  for (const ByteSequence& sequence : sequences) {
    bool fits = static_cast<size_t>(sequence.length) == text.size();
    for (size_t i = 0; fits && i < text.size(); ++i) {
      const auto byte = static_cast<uint8_t>(text[i]);
      fits = sequence.first[i] <= byte && byte <= sequence.last[i];
    }
    count += fits;
  }
  return count;
}

bool is_surrogate(char32_t c) { return c >= 0xd800 && c <= 0xdfff; }

TEST(CodePoints, SequencesAreTheSetsUtf8) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const CodePointSet set = random_set(seed);
    const std::vector<ByteSequence> sequences = utf8_sequences(set);
    uint64_t size = 0;
    uint64_t product = 0;
    for (const CodePointRange& range : set.ranges()) size += range.last - range.first + 1;
    for (const ByteSequence& sequence : sequences) {
      uint64_t texts = 1;
      for (int i = 0; i < sequence.length; ++i) texts *= sequence.last[i] - sequence.first[i] + 1u;
      product += texts;
    }
    EXPECT_EQ(product, size) << seed;  // with the members below: nothing beside them
    for (const CodePointRange& range : set.ranges()) {
      for (char32_t c = range.first; c <= range.last; c += c + 97 < range.last ? 97 : 1) {
        std::string text;
        append_utf8(c, text);
        ASSERT_EQ(count_matches(sequences, text), 1) << seed << " U+" << std::hex << static_cast<uint32_t>(c);
      }
    }
  }
}

TEST(CodePoints, SetAlgebra) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const CodePointSet a = random_set(2 * seed);
    const CodePointSet b = random_set(2 * seed + 1);
    const CodePointSet not_a = a.complement();
    const CodePointSet difference = a.minus(b);
    for (char32_t c = 0; c <= 0x10ffff; c += 1 + static_cast<char32_t>(random_bits(seed, c) % 50)) {
      if (is_surrogate(c)) {
        ASSERT_FALSE(a.contains(c) || not_a.contains(c) || difference.contains(c));
        continue;
      }
      ASSERT_EQ(not_a.contains(c), !a.contains(c));
      ASSERT_EQ(difference.contains(c), a.contains(c) && !b.contains(c));
    }
    EXPECT_EQ(not_a.complement().ranges(), a.ranges());
  }
}

}  // namespace
}  // namespace fathom
