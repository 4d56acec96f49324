// Every prepare kernel against the scalar reference. Without a norm all forms must agree bit
// for bit; with one, the sum of squares may be taken in another order, whose last bit can move a value across
// a rounding: by one unit of what it is rounded to.
#include "kernels/test_support.h"

namespace fathom::kernels {
namespace {

constexpr ActivationRounding kRoundings[] = {ActivationRounding::kNone, ActivationRounding::kBFloat16,
                                             ActivationRounding::kFloat16};

// Every destination of one call, filled with a byte that no kernel writes there by chance.
struct Outputs {
  Outputs(int64_t num_tokens, int64_t width, int64_t float_padded)
      : float32(static_cast<size_t>(num_tokens * float_padded), kNaN),
        bfloat16(static_cast<size_t>(num_tokens * padded_inputs(width, PanelFormat::kBFloat16)), 0x5555),
        int8(static_cast<size_t>(num_tokens * padded_inputs(width, PanelFormat::kInt8)), 0x55),
        int8_pair(2 * int8.size(), 0x55),
        scales(static_cast<size_t>(num_tokens), -1),
        pair_scales(scales) {}

  void fill(PrepareParams& p, int64_t float_padded) {
    p.float32 = {float32.data(), nullptr, float_padded};
    p.bfloat16 = {bfloat16.data(), nullptr, padded_inputs(p.width, PanelFormat::kBFloat16)};
    p.int8 = {int8.data(), scales.data(), padded_inputs(p.width, PanelFormat::kInt8)};
    p.int8_pair = {int8_pair.data(), pair_scales.data(), padded_inputs(p.width, PanelFormat::kInt8)};
  }

  std::vector<float> float32;
  std::vector<uint16_t> bfloat16;
  std::vector<uint8_t> int8, int8_pair;
  std::vector<float> scales, pair_scales;
};

// Bit for bit; a NaN equals any NaN.
void expect_same(const std::vector<float>& got, const std::vector<float>& want) {
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << "at " << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i])) << "at " << i;
    }
  }
}

bool is_nan(uint16_t bits) { return (bits & 0x7fffu) > 0x7f80u; }

// Rows of random values of any size, then rows of special ones.
std::vector<float> rows_with_specials(Values& values, int64_t num_tokens, int64_t width, int64_t stride) {
  std::vector<float> x = strided(values, num_tokens, width, stride);
  const auto row = [&](int64_t t) { return x.data() + t * stride; };
  for (int64_t i = 0; i < width; ++i) {
    row(0)[i] *= std::exp2(static_cast<float>(values.below(40) - 20));
    row(1)[i] = 0.0f;
    row(2)[i] *= 3e30f;
    row(3)[i] *= 1e-30f;
    row(8)[i] *= 1e-40f;                                             // limit / largest overflows
    row(4)[i] = static_cast<float>(values.below(255) - 127) * 0.5f;  // ties
  }
  row(4)[width - 1] = 127.0f;
  row(5)[width / 2] = std::numeric_limits<float>::infinity();
  row(6)[width - 1] = kNaN;
  row(7)[0] = 65504.0f;
  return x;
}

TEST(PrepareKernel, EqualsReferenceWithoutNorm) {
  for (const NamedTable& named : fast_tables()) {
    for (int64_t width : {1, 7, 8, 31, 64, 100, 203}) {
      for (ActivationRounding rounding : kRoundings) {
        for (uint8_t zero_point : {uint8_t{0}, uint8_t{128}}) {
          Values values(static_cast<uint64_t>(width));
          const int64_t num_tokens = 9, stride = width + 5,
                        float_padded = padded_inputs(width, PanelFormat::kFloat32);
          const std::vector<float> x = rows_with_specials(values, num_tokens, width, stride);
          PrepareParams p{.x = x.data(),
                          .width = width,
                          .x_stride = stride,
                          .rounding = rounding,
                          .int8_zero_point = zero_point,
                          .begin = 0,
                          .end = num_tokens};
          Outputs got(num_tokens, width, float_padded), want(got);
          got.fill(p, float_padded);
          named.table.prepare(p);
          want.fill(p, float_padded);
          ref::prepare(p);
          SCOPED_TRACE(named.name + " width " + std::to_string(width));
          ASSERT_NO_FATAL_FAILURE(expect_same(got.float32, want.float32));
          ASSERT_NO_FATAL_FAILURE(expect_same(got.scales, want.scales));
          ASSERT_NO_FATAL_FAILURE(expect_same(got.pair_scales, want.pair_scales));
          for (size_t i = 0; i < want.int8.size(); ++i) {
            ASSERT_EQ(int{got.int8[i]}, int{want.int8[i]}) << "at " << i;
          }
          for (size_t i = 0; i < want.int8_pair.size(); ++i) {
            ASSERT_EQ(int{got.int8_pair[i]}, int{want.int8_pair[i]}) << "at " << i;
          }
          for (size_t i = 0; i < want.bfloat16.size(); ++i) {
            ASSERT_TRUE(got.bfloat16[i] == want.bfloat16[i] ||
                        (is_nan(got.bfloat16[i]) && is_nan(want.bfloat16[i])))
                << "at " << i;
          }
          EXPECT_TRUE(std::isnan(want.scales[5]) && std::isnan(want.scales[6]));
        }
      }
    }
  }
}

// One token of the range at a time, and only the forms that are wanted.
TEST(PrepareKernel, WritesItsRangeAndFormsOnly) {
  for (const NamedTable& named : fast_tables()) {
    const int64_t width = 70, num_tokens = 4;
    Values values(11);
    const std::vector<float> x = strided(values, num_tokens, width, width);
    Outputs got(num_tokens, width, 80), before(got);
    PrepareParams p{.x = x.data(), .width = width, .x_stride = width, .begin = 2, .end = 3};
    got.fill(p, 80);
    p.bfloat16 = p.int8_pair = {};
    named.table.prepare(p);
    EXPECT_EQ(got.bfloat16, before.bfloat16);
    EXPECT_EQ(got.int8_pair, before.int8_pair);
    for (int64_t t : {0, 1, 3}) {
      EXPECT_EQ(got.scales[static_cast<size_t>(t)], -1.0f);
      EXPECT_EQ(got.int8[static_cast<size_t>(t * 128)], 0x55);
      EXPECT_TRUE(std::isnan(got.float32[static_cast<size_t>(t * 80)]));
    }
    EXPECT_EQ(got.float32[2 * 80 + 69], x[2 * 70 + 69]);
    EXPECT_EQ(got.float32[2 * 80 + 79], 0.0f);
  }
}

TEST(PrepareKernel, NormsLikeTheReference) {
  for (const NamedTable& named : fast_tables()) {
    for (int64_t width : {1, 7, 64, 203, 2048}) {
      for (ActivationRounding rounding : kRoundings) {
        Values values(static_cast<uint64_t>(width + 3));
        const int64_t num_tokens = 3, padded = round_up(width, 16);
        const std::vector<float> x = strided(values, num_tokens, width, width);
        const std::vector<float> weight = strided(values, 1, width, width);
        PrepareParams p{.x = x.data(),
                        .norm_weight = weight.data(),
                        .width = width,
                        .x_stride = width,
                        .eps = 1e-6f,
                        .rounding = rounding,
                        .int8_zero_point = 128,
                        .begin = 0,
                        .end = num_tokens};
        Outputs got(num_tokens, width, padded), want(got);
        got.fill(p, padded);
        named.table.prepare(p);
        want.fill(p, padded);
        ref::prepare(p);
        // The scale errs by width roundings at most, the value by two more; then a unit of the rounding.
        const double unit = rounding == ActivationRounding::kNone       ? 0
                            : rounding == ActivationRounding::kBFloat16 ? kBf16Epsilon
                                                                        : 0x1p-10;
        const double error = kEpsilon * static_cast<double>(width + 4) + unit;
        for (size_t i = 0; i < want.float32.size(); ++i) {
          ASSERT_NEAR(got.float32[i], want.float32[i], error * std::abs(want.float32[i]) + 0x1p-24)
              << named.name << " width " << width << " at " << i;
        }
        for (size_t i = 0; i < want.int8.size(); ++i) ASSERT_NEAR(got.int8[i], want.int8[i], 1);
        const auto stride = static_cast<size_t>(p.int8.padded);
        for (size_t t = 0; t < 3; ++t) {
          ASSERT_NEAR(got.scales[t], want.scales[t], error * want.scales[t]);
          const double pair_error = error * kInt8PairLimit + 1;
          for (size_t i = 0; i < stride; ++i) {
            const auto value = [&](const Outputs& from) {
              return 254.0 * (from.int8_pair[2 * t * stride + i] - 128) +
                     (from.int8_pair[(2 * t + 1) * stride + i] - 128);
            };
            ASSERT_NEAR(value(got), value(want), pair_error) << named.name << " at " << i;
          }
        }
      }
    }
  }
}

// A row's bits do not depend on its neighbours or on its place.
TEST(PrepareKernel, BitsDependOnTheRowAlone) {
  for (const NamedTable& named : fast_tables()) {
    const int64_t width = 203, num_tokens = 5, padded = 208;
    Values values(5);
    const std::vector<float> x = strided(values, num_tokens, width, width);
    const std::vector<float> weight = strided(values, 1, width, width);
    PrepareParams p{.x = x.data(),
                    .norm_weight = weight.data(),
                    .width = width,
                    .x_stride = width,
                    .eps = 1e-6f,
                    .begin = 0,
                    .end = num_tokens};
    Outputs whole(num_tokens, width, padded), parts(whole);
    whole.fill(p, padded);
    named.table.prepare(p);
    parts.fill(p, padded);
    for (int64_t t = 0; t < num_tokens; ++t) {
      p.begin = t;
      p.end = t + 1;
      named.table.prepare(p);
    }
    EXPECT_EQ(parts.float32, whole.float32);
    EXPECT_EQ(parts.int8, whole.int8);
    EXPECT_EQ(parts.int8_pair, whole.int8_pair);
  }
}

}  // namespace
}  // namespace fathom::kernels
