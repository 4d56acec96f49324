// Rounds one row of a linear layer to int8 or int4 in the form of docs/quantization.md. The bytes depend on
// the values alone: every sum has a fixed order, so machines, compilers and thread counts do not matter.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

enum class Rounding : uint8_t {
  kNearest,  // the largest magnitude of a row or group decides its scale
  kSearch,   // the scale with the smallest squared error among a few
};

// What rounding a row has cost, with w the values and w' what their rounding stands for.
struct RowError {
  double weight_squares = 0;  // sum of w^2; not finite exactly where a value is NaN or infinite
  double error_squares = 0;   // sum of (w - w')^2
};

// Row by row; one object per thread, for it keeps a row of scratch.
class RowRounder {
 public:
  // group_size is used by int4 alone.
  RowRounder(Rounding rounding, int64_t group_size) : rounding_(rounding), group_size_(group_size) {}

  // k values to k bytes and a scale: w' = scale * q, q in [-127, 127]. A row without magnitude gets scale 0.
  // A row with NaN or infinity gives no usable output.
  RowError to_int8(std::span<const float> row, int8_t* out, float& scale);
  // k values, k even, to k / 2 bytes, ceil(k / group_size) factors and a scale: w' = scale * factor * q,
  // q in [-8, 7].
  RowError to_int4(std::span<const float> row, uint8_t* out, uint8_t* factors, float& scale);

 private:
  void divide_row(std::span<const float> row, float scale);
  // Calls body(group, its units, index of the first).
  template <typename Body>
  void for_groups(size_t row_size, Body body);
  void nearest_factors(size_t row_size);
  double search_factors(size_t row_size);

  Rounding rounding_;
  int64_t group_size_;
  // Scratch.
  std::vector<float> units_;    // int4: the row divided by the scale being tried
  std::vector<float> rounded_;  // q
  std::vector<int> nearest_;    // factors for units_
  std::vector<int> factors_;    // the chosen ones
};

}  // namespace fathom
