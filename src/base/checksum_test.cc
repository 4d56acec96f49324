#include "base/checksum.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// The values that `xxhsum -H2` prints.
TEST(Checksum, KnownValues) {
  EXPECT_EQ(checksum_of(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(checksum_of("abc"), "06b05ab6733a618578af5f94892f3950");
}

TEST(Checksum, PiecesAgreeWithTheWhole) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 37 % 251);
  for (size_t step : {1u, 7u, 64u, 1000u, 5000u}) {
    Checksum checksum;
    for (size_t i = 0; i < text.size(); i += step)
      checksum.update(bytes(text).subspan(i, std::min(step, text.size() - i)));
    EXPECT_EQ(checksum.hex(), checksum_of(text)) << step;
  }
  std::string flipped = text;
  flipped[1234] = static_cast<char>(flipped[1234] ^ 1);
  EXPECT_NE(checksum_of(flipped), checksum_of(text));
}

}  // namespace
}  // namespace fathom
