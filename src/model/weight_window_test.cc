#include "model/weight_window.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

std::vector<uint8_t> counted(size_t count) {
  std::vector<uint8_t> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(i % 251);
  return bytes;
}

TEST(WeightWindow, RowsStayWhereTheyLie) {
  const std::vector<float> values = {0, 1, 2, 3, 4, 5};
  const StoredWeight stored{.tensor = {values.data(), DType::kFloat32, {3, 2}}, .scale = {}, .factors = {}};
  const WeightWindow window = cut_weight("w", stored, values.data(), {{1, 3}, {0, 2}});
  EXPECT_EQ(window.tensor.data, values.data() + 2);
  EXPECT_EQ(window.tensor.shape, (Shape{2, 2}));
}

TEST(WeightWindow, VectorsAreRows) {
  const std::vector<float> values = {0, 1, 2};
  const StoredWeight stored{.tensor = {values.data(), DType::kFloat32, {3}}, .scale = {}, .factors = {}};
  const WeightWindow window = cut_weight("w", stored, values.data(), {{0, 3}, {0, 1}});
  EXPECT_EQ(window.tensor.data, values.data());
  EXPECT_EQ(window.tensor.shape, (Shape{3}));
}

TEST(WeightWindow, ColumnsAreGatheredAndRowsKeepTheirScales) {
  constexpr int64_t kRows = 5, kCols = 11;
  const std::vector<uint8_t> bytes = counted(kRows * kCols);
  const std::vector<float> scales = {1, 2, 3, 4, 5};
  const StoredWeight stored{.tensor = {bytes.data(), DType::kInt8, {kRows, kCols}},
                            .scale = {scales.data(), DType::kFloat32, {kRows, 1}},
                            .factors = {},
                            .type = QuantType::kW8A8Dynamic};
  const WeightWindow window = cut_weight("w", stored, bytes.data(), {{2, 4}, {3, 8}});
  ASSERT_EQ(window.tensor.shape, (Shape{2, 5}));
  const auto* got = static_cast<const uint8_t*>(window.tensor.data);
  for (size_t row = 0; row < 2; ++row)
    for (size_t col = 0; col < 5; ++col) EXPECT_EQ(got[row * 5 + col], (row + 2) * kCols + col + 3);
  EXPECT_EQ(window.scales, (std::vector<float>{3, 4}));
  EXPECT_EQ(window.source().scales[1], 4);
}

// Columns [64, 160) of 192 with a factor for each 128: four groups of 32 with two factors a row.
TEST(WeightWindow, Int4ColumnsTakeTheirFactorsAlong) {
  constexpr int64_t kRows = 3, kCols = 192;
  const std::vector<uint8_t> bytes = counted(kRows * kCols / 2);
  const std::vector<uint8_t> factors = {1, 2, 3, 4, 5, 6};
  const std::vector<float> scales = {1, 2, 3};
  const StoredWeight stored{.tensor = {bytes.data(), DType::kUint8, {kRows, kCols / 2}},
                            .scale = {scales.data(), DType::kFloat32, {kRows}},
                            .factors = {factors.data(), DType::kUint8, {kRows, 2}},
                            .group_size = 128,
                            .type = QuantType::kW4A16};
  const WeightWindow window = cut_weight("w", stored, bytes.data(), {{1, 3}, {64, 160}});
  ASSERT_EQ(window.tensor.shape, (Shape{2, 48}));
  const auto* got = static_cast<const uint8_t*>(window.tensor.data);
  for (size_t row = 0; row < 2; ++row)
    for (size_t col = 0; col < 48; ++col) EXPECT_EQ(got[row * 48 + col], bytes[(row + 1) * 96 + 32 + col]);
  const WeightSource source = window.source();
  EXPECT_EQ(source.group_size, 32);
  EXPECT_EQ(std::vector<uint8_t>(source.factors, source.factors + 6),
            (std::vector<uint8_t>{3, 3, 4, 5, 5, 6}));
  const WeightWindow rows = cut_weight("w", stored, bytes.data(), {{1, 3}, {0, kCols}});
  EXPECT_EQ(rows.source().group_size, 128);
  EXPECT_EQ(rows.source().factors, factors.data() + 2);
}

}  // namespace
}  // namespace fathom
