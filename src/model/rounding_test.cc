#include "model/rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"

namespace fathom {
namespace {

constexpr uint64_t kSeed = 20240601;

// Values in (-1, 1), every seventh ten times as large, so that groups differ.
std::vector<float> random_row(size_t size, uint64_t key) {
  std::vector<float> row;
  for (size_t i = 0; i < size; ++i) {
    const double unit = static_cast<double>(random_bits(kSeed + key, i) >> 11) * 0x1p-53;
    row.push_back(static_cast<float>((2 * unit - 1) * (i % 7 == 3 ? 10 : 1)));
  }
  return row;
}

float largest(std::span<const float> values) {
  float found = 0;
  for (float value : values) found = std::max(found, std::fabs(value));
  return found;
}

struct Int8Row {
  std::vector<int8_t> q;
  float scale = -1;
  RowError error;
};

Int8Row to_int8(std::span<const float> row, Rounding rounding) {
  Int8Row out{std::vector<int8_t>(row.size()), -1, {}};
  out.error = RowRounder(rounding, 64).to_int8(row, out.q.data(), out.scale);
  return out;
}

// Unpacked.
struct Int4Row {
  std::vector<int> q;
  std::vector<uint8_t> factors;
  float scale = -1;
  RowError error;

  double value(size_t i, size_t group_size) const {
    return static_cast<double>(scale) * factors[i / group_size] * q[i];
  }
};

Int4Row to_int4(std::span<const float> row, Rounding rounding, size_t group_size) {
  Int4Row out;
  std::vector<uint8_t> packed(row.size() / 2);
  out.factors.resize((row.size() + group_size - 1) / group_size);
  RowRounder rounder(rounding, static_cast<int64_t>(group_size));
  out.error = rounder.to_int4(row, packed.data(), out.factors.data(), out.scale);
  for (uint8_t byte : packed) {
    for (int nibble : {byte & 15, byte >> 4}) out.q.push_back(nibble >= 8 ? nibble - 16 : nibble);
  }
  return out;
}

// |w - w'| is computed from units x = w / scale, which carry a relative error of 2^-24 and are below 128.
double error_tolerance(size_t size, double scale, double error_squares) {
  const double unit = 128 * 0x1p-23;
  return static_cast<double>(size) * (unit + unit * unit) * scale * scale +
         error_squares * static_cast<double>(size + 8) * 0x1p-23;
}

TEST(Rounding, Int8NearestIsTheFormula) {
  for (size_t size : {1u, 2u, 3u, 7u, 8u, 9u, 31u, 64u, 100u, 1408u}) {
    const std::vector<float> row = random_row(size, size);
    const Int8Row out = to_int8(row, Rounding::kNearest);
    EXPECT_EQ(out.scale, largest(row) / 127);
    double weight = 0, error = 0;
    for (size_t i = 0; i < size; ++i) {
      ASSERT_EQ(out.q[i], static_cast<int8_t>(std::nearbyint(row[i] / out.scale))) << size << " " << i;
      weight += static_cast<double>(row[i]) * row[i];
      error += std::pow(row[i] - static_cast<double>(out.scale) * out.q[i], 2);
    }
    EXPECT_NEAR(out.error.weight_squares, weight, weight * static_cast<double>(size + 8) * 0x1p-22);
    EXPECT_NEAR(out.error.error_squares, error, error_tolerance(size, out.scale, error));
  }
}

TEST(Rounding, Int8TiesGoToEven) {
  const std::vector<float> row = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.5f, 125.5f};
  EXPECT_EQ(to_int8(row, Rounding::kNearest).q, (std::vector<int8_t>{127, 0, 2, 2, 0, -2, -126, 126}));
}

TEST(Rounding, Int4NearestIsTheFormula) {
  for (size_t group_size : {32u, 64u, 128u}) {
    for (size_t size : {2u, 6u, 32u, 34u, 64u, 130u, 1408u}) {
      const std::vector<float> row = random_row(size, size + group_size);
      const Int4Row out = to_int4(row, Rounding::kNearest, group_size);
      EXPECT_EQ(out.scale, largest(row) / 7 / 15);
      double weight = 0, error = 0;
      for (size_t begin = 0; begin < size; begin += group_size) {
        const auto group = std::span(row).subspan(begin, std::min(group_size, size - begin));
        const int factor = out.factors[begin / group_size];
        ASSERT_EQ(factor, static_cast<int>(std::nearbyint(largest(group) / out.scale / 7)));
        for (size_t i = begin; i < begin + group.size(); ++i) {
          const float inverse = factor == 0 ? 0.0f : 1.0f / static_cast<float>(factor);
          const float exact = std::clamp(row[i] / out.scale * inverse, -8.0f, 7.0f);
          ASSERT_EQ(out.q[i], static_cast<int>(std::nearbyint(exact))) << size << " " << i;
          weight += static_cast<double>(row[i]) * row[i];
          error += std::pow(row[i] - out.value(i, group_size), 2);
        }
      }
      EXPECT_NEAR(out.error.weight_squares, weight, weight * static_cast<double>(size + 8) * 0x1p-22);
      EXPECT_NEAR(out.error.error_squares, error, error_tolerance(size, out.scale, error));
    }
  }
}

// Never worse than the nearest rounding; better for most rows of any length.
TEST(Rounding, SearchReducesTheError) {
  int num_better8 = 0, num_better4 = 0, num_rows = 0;
  for (size_t size : {6u, 40u, 64u, 200u, 1024u}) {
    for (uint64_t key = 0; key < 20; ++key, ++num_rows) {
      std::vector<float> row = random_row(size, 1000 + key);
      row[1] = 40;  // clipping an outlier never pays with int8, but the search must see that
      const Int8Row near8 = to_int8(row, Rounding::kNearest), search8 = to_int8(row, Rounding::kSearch);
      EXPECT_LE(search8.error.error_squares, near8.error.error_squares * (1 + 1e-6));
      row[1] = 5;
      const Int4Row near4 = to_int4(row, Rounding::kNearest, 32),
                    search4 = to_int4(row, Rounding::kSearch, 32);
      EXPECT_LE(search4.error.error_squares, near4.error.error_squares * (1 + 1e-6));
      if (search8.error.error_squares < near8.error.error_squares) ++num_better8;
      if (search4.error.error_squares < near4.error.error_squares * 0.99) ++num_better4;
      for (uint8_t factor : search4.factors) EXPECT_LE(factor, 15);
    }
  }
  EXPECT_GT(num_better8, 0);
  EXPECT_GT(num_better4, num_rows / 2);
}

TEST(Rounding, RowsOfZerosHaveScaleZero) {
  for (Rounding rounding : {Rounding::kNearest, Rounding::kSearch}) {
    const std::vector<float> row = {0.0f, -0.0f, 0, 0, 0, 0, 0, 0, 0, 0};
    const Int8Row int8 = to_int8(row, rounding);
    EXPECT_EQ(int8.scale, 0);
    EXPECT_EQ(int8.q, std::vector<int8_t>(10));
    EXPECT_EQ(int8.error.error_squares, 0);
    const Int4Row int4 = to_int4(row, rounding, 32);
    EXPECT_EQ(int4.scale, 0);
    EXPECT_EQ(int4.q, std::vector<int>(10));
    EXPECT_EQ(int4.factors, std::vector<uint8_t>(1));
    EXPECT_EQ(int4.error.weight_squares, 0);
  }
}

// A group of zeros in a row with values.
TEST(Rounding, GroupsOfZerosHaveFactorZero) {
  std::vector<float> row(96);
  row[40] = -3;
  for (Rounding rounding : {Rounding::kNearest, Rounding::kSearch}) {
    const Int4Row out = to_int4(row, rounding, 32);
    EXPECT_EQ(out.factors[0], 0);
    EXPECT_EQ(out.factors[2], 0);
    EXPECT_GT(out.factors[1], 0);
    EXPECT_NEAR(out.value(40, 32), -3, 3 * 0x1p-20);
  }
}

TEST(Rounding, NotANumberAndInfinityAreSeenAnywhere) {
  for (float bad : {std::nanf(""), -std::nanf(""), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    for (size_t at = 0; at < 11; ++at) {
      std::vector<float> row = random_row(11, at);
      row[at] = bad;
      for (Rounding rounding : {Rounding::kNearest, Rounding::kSearch}) {
        EXPECT_FALSE(std::isfinite(to_int8(row, rounding).error.weight_squares)) << at;
        row.push_back(0);
        EXPECT_FALSE(std::isfinite(to_int4(row, rounding, 32).error.weight_squares)) << at;
        row.pop_back();
      }
    }
  }
}

// The smallest and largest floats: nothing wraps, overflows or divides by zero.
TEST(Rounding, ExtremesStayInRange) {
  for (float unit : {0x1p-149f, 0x1p-140f, 0x1p-126f, 0x1p-20f, 0x1p120f}) {
    for (Rounding rounding : {Rounding::kNearest, Rounding::kSearch}) {
      std::vector<float> row;
      for (int i = -190; i < 190; ++i) row.push_back(unit * static_cast<float>(i) / 1.5f);
      const Int8Row int8 = to_int8(row, rounding);
      const Int4Row int4 = to_int4(row, rounding, 64);
      EXPECT_TRUE(std::isfinite(int8.scale) && int8.scale >= 0);
      EXPECT_TRUE(std::isfinite(int4.scale) && int4.scale >= 0);
      EXPECT_TRUE(std::isfinite(int8.error.error_squares) && std::isfinite(int4.error.error_squares));
      for (size_t i = 0; i < row.size(); ++i) {
        EXPECT_GE(int8.q[i], -127);
        EXPECT_LE(row[i] < 0 ? int8.q[i] : -int8.q[i], 0) << unit << " " << i;
        EXPECT_LE(row[i] < 0 ? int4.q[i] : -int4.q[i], 0) << unit << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace fathom
