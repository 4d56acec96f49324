#include "base/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fathom {
namespace {

// Every 16-bit pattern that is not a NaN survives the way to float and back.
TEST(Float16, EveryValueRoundTrips) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const Float16 half{static_cast<uint16_t>(bits)};
    const BFloat16 brain{static_cast<uint16_t>(bits)};
    if (!std::isnan(to_float(half))) {
      EXPECT_EQ(from_float<Float16>(to_float(half)).bits, bits);
    }
    if (!std::isnan(to_float(brain))) {
      EXPECT_EQ(from_float<BFloat16>(to_float(brain)).bits, bits);
    }
  }
}

// Halfway between two neighbours goes to the even one; just off halfway goes to the nearer one.
template <typename T>
void expect_nearest_even(uint16_t limit) {
  for (uint32_t bits = 0; bits + 1 < limit; ++bits) {
    const float low = to_float(T{static_cast<uint16_t>(bits)});
    const float high = to_float(T{static_cast<uint16_t>(bits + 1)});
    const float middle = low + (high - low) / 2;
    const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(from_float<T>(middle).bits, even) << "between patterns " << bits << " and " << bits + 1;
    ASSERT_EQ(from_float<T>(std::nextafter(middle, low)).bits, bits);
    ASSERT_EQ(from_float<T>(std::nextafter(middle, high)).bits, bits + 1);
    ASSERT_EQ(from_float<T>(-middle).bits, even | 0x8000u);
  }
}

TEST(Float16, RoundsToNearestEven) { expect_nearest_even<Float16>(0x7c00); }
TEST(BFloat16, RoundsToNearestEvenInNormalRange) {
  for (uint32_t bits = 0x0080; bits < 0x7f7f; ++bits) {
    const float low = to_float(BFloat16{static_cast<uint16_t>(bits)});
    const float high = to_float(BFloat16{static_cast<uint16_t>(bits + 1)});
    const float middle = low + (high - low) / 2;
    ASSERT_EQ(from_float<BFloat16>(middle).bits, bits % 2 == 0 ? bits : bits + 1);
  }
}

TEST(Float16, Specials) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(from_float<Float16>(65519.9f).bits, 0x7bff);
  EXPECT_EQ(from_float<Float16>(65520.0f).bits, 0x7c00);
  EXPECT_EQ(from_float<Float16>(-infinity).bits, 0xfc00);
  EXPECT_EQ(from_float<BFloat16>(infinity).bits, 0x7f80);
  EXPECT_TRUE(std::isnan(to_float(from_float<Float16>(std::nanf("")))));
  EXPECT_TRUE(std::isnan(to_float(from_float<BFloat16>(std::nanf("")))));
  EXPECT_TRUE(std::isnan(to_float(from_float<BFloat16>(std::bit_cast<float>(0x7f800001u)))));
}

}  // namespace
}  // namespace fathom
