#include "model/rounding.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace fathom {
namespace {

constexpr float kInt8Max = 127;  // -128 stays unused, so that the range is symmetric
constexpr float kInt4Min = -8;
constexpr float kInt4Max = 7;
constexpr int kMaxFactor = 15;
constexpr size_t kSpare = 4;  // a vector's values behind a row's end

// Scales that the search tries, as shares of the nearest rounding's.
constexpr float kInt8Clips[] = {1.0f, 0.98f, 0.95f, 0.92f, 0.88f};
constexpr float kInt4RowScales[] = {1.0f, 0.9f};

// Four floats side by side: left to itself, the compiler does not make these sums vector instructions. Every
// operation rounds each lane as it would a single float.
typedef float Float4 __attribute__((vector_size(16)));

Float4 load(const float* values) {
  Float4 x;
  std::memcpy(&x, values, sizeof(x));
  return x;
}
void store(Float4 x, float* values) { std::memcpy(values, &x, sizeof(x)); }

// To the nearest integer, ties to even, for |x| < 2^22; NaN and infinity do not come here.
template <typename T>
T round_even(T x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23
  return (x + kShift) - kShift;
}

Float4 clamp(Float4 x, float low, float high) {
  const Float4 lows = {low, low, low, low};
  const Float4 highs = {high, high, high, high};
  const Float4 above = x > lows ? x : lows;
  return above < highs ? above : highs;
}

// Sums in eight lanes, which are added up in their order.
struct Sum {
  Float4 lanes[2] = {};

  double total() const {
    double sum = 0;
    for (const Float4& lane : lanes) {
      for (int i = 0; i < 4; ++i) sum += lane[i];
    }
    return sum;
  }
};

// Calls body(index, four values, which of two lanes' sets); the last four are filled up with zeros, and their
// index may have fewer than four values behind it.
template <typename Body>
void for_vectors(std::span<const float> values, Body body) {
  const float* const data = values.data();
  const size_t size = values.size();
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    body(i, load(data + i), 0);
    body(i + 4, load(data + i + 4), 1);
  }
  for (int set = 0; i < size; i += 4, ++set) {
    float last[4] = {};
    std::copy(data + i, data + std::min(i + 4, size), last);
    body(i, load(last), set);
  }
}

// Magnitudes of floats order like their bits, and whole numbers need no care for NaN, so that this loop
// becomes vector instructions. NaN and infinity come out as themselves.
float largest_magnitude(std::span<const float> values) {
  int32_t largest = 0;
  for (float value : values) {
    const int32_t magnitude = std::bit_cast<int32_t>(value) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  return std::bit_cast<float>(largest);
}

constexpr RowError kNotFinite = {std::numeric_limits<double>::infinity(), 0};

// In units of the scale, in which nothing overflows.
struct UnitError {
  double weight = 0;
  double error = 0;

  RowError in_weights(float scale) const {
    const double square = static_cast<double>(scale) * scale;
    return {weight * square, error * square};
  }
};

// Where the scale of a row with values is 0, the values are too small for float scales.
RowError round_to_zero(std::span<const float> row) {
  RowError error;
  for (float value : row) error.weight_squares += static_cast<double>(value) * value;
  error.error_squares = error.weight_squares;
  return error;
}

double int8_error(std::span<const float> row, float scale) {
  Sum error;
  for_vectors(row, [&](size_t, Float4 w, int set) {
    const Float4 x = w / scale;
    const Float4 difference = x - round_even(clamp(x, -kInt8Max, kInt8Max));
    error.lanes[set] += difference * difference;
  });
  return error.total() * scale * scale;
}

// q as floats; rounded has room for four more.
UnitError round_int8(std::span<const float> row, float scale, float* rounded) {
  Sum weight;
  Sum error;
  for_vectors(row, [&](size_t i, Float4 w, int set) {
    const Float4 x = w / scale;
    const Float4 q = round_even(clamp(x, -kInt8Max, kInt8Max));
    weight.lanes[set] += x * x;
    error.lanes[set] += (x - q) * (x - q);
    store(q, rounded + i);
  });
  return {weight.total(), error.total()};
}

void pack_int8(std::span<const float> rounded, int8_t* out) {
  const float* const q = rounded.data();
  for (size_t i = 0; i < rounded.size(); ++i) out[i] = static_cast<int8_t>(static_cast<int32_t>(q[i]));
}

float inverse_of(int factor) { return factor == 0 ? 0.0f : 1.0f / static_cast<float>(factor); }

// Of a group in units of the row's scale.
double int4_error(std::span<const float> group, int factor) {
  const float step = static_cast<float>(factor);
  const float inverse = inverse_of(factor);
  Sum error;
  for_vectors(group, [&](size_t, Float4 x, int set) {
    const Float4 difference = x - step * round_even(clamp(x * inverse, kInt4Min, kInt4Max));
    error.lanes[set] += difference * difference;
  });
  return error.total();
}

// q as floats; rounded has room for four more.
void round_int4(std::span<const float> group, int factor, float* rounded) {
  const float inverse = inverse_of(factor);
  for_vectors(group, [&](size_t i, Float4 x, int) {
    store(round_even(clamp(x * inverse, kInt4Min, kInt4Max)), rounded + i);
  });
}

double sum_of_squares(std::span<const float> values) {
  Sum sum;
  for_vectors(values, [&](size_t, Float4 x, int set) { sum.lanes[set] += x * x; });
  return sum.total();
}

void pack_int4(std::span<const float> rounded, uint8_t* out) {
  const float* const q = rounded.data();
  for (size_t j = 0; j < rounded.size() / 2; ++j) {
    const auto low = static_cast<uint32_t>(static_cast<int32_t>(q[2 * j])) & 15u;
    const auto high = static_cast<uint32_t>(static_cast<int32_t>(q[2 * j + 1])) & 15u;
    out[j] = static_cast<uint8_t>(low | high << 4);
  }
}

}  // namespace

RowError RowRounder::to_int8(std::span<const float> row, int8_t* out, float& scale) {
  const float largest = largest_magnitude(row);
  if (!std::isfinite(largest)) return kNotFinite;
  const float full = largest / kInt8Max;
  scale = full;
  if (full == 0) {
    std::fill(out, out + row.size(), int8_t{0});
    return round_to_zero(row);
  }
  if (rounding_ == Rounding::kSearch) {
    double best = std::numeric_limits<double>::infinity();
    for (float clip : kInt8Clips) {
      const double error = clip * full > 0 ? int8_error(row, clip * full) : best;
      if (error >= best) continue;
      best = error;
      scale = clip * full;
    }
  }
  rounded_.resize(row.size() + kSpare);
  const UnitError error = round_int8(row, scale, rounded_.data());
  pack_int8(std::span(rounded_).first(row.size()), out);
  return error.in_weights(scale);
}

void RowRounder::divide_row(std::span<const float> row, float scale) {
  units_.resize(row.size());
  const float* const w = row.data();
  float* const units = units_.data();
  for (size_t i = 0; i < row.size(); ++i) units[i] = w[i] / scale;
}

template <typename Body>
void RowRounder::for_groups(size_t row_size, Body body) {
  const auto size = static_cast<size_t>(group_size_);
  for (size_t begin = 0, group = 0; begin < row_size; begin += size, ++group)
    body(group, std::span<const float>(units_).subspan(begin, std::min(size, row_size - begin)), begin);
}

void RowRounder::nearest_factors(size_t row_size) {
  nearest_.clear();
  for_groups(row_size, [this](size_t, std::span<const float> x, size_t) {
    const float factor =
        round_even(std::min(largest_magnitude(x) / kInt4Max, static_cast<float>(kMaxFactor)));
    nearest_.push_back(static_cast<int>(factor));
  });
}

// The best factors for the scale that units_ are in; returns their squared error in these units.
double RowRounder::search_factors(size_t row_size) {
  nearest_factors(row_size);
  double sum = 0;
  for_groups(row_size, [&](size_t group, std::span<const float> x, size_t) {
    // Downwards while it helps: large values are clipped, small ones gain.
    int& factor = nearest_[group];
    double best = int4_error(x, factor);
    for (int tried = factor - 1; tried >= 0; --tried) {
      const double error = int4_error(x, tried);
      if (error >= best) break;
      best = error;
      factor = tried;
    }
    sum += best;
  });
  return sum;
}

RowError RowRounder::to_int4(std::span<const float> row, uint8_t* out, uint8_t* factors, float& scale) {
  const size_t num_groups =
      (row.size() + static_cast<size_t>(group_size_) - 1) / static_cast<size_t>(group_size_);
  const float largest = largest_magnitude(row);
  if (!std::isfinite(largest)) return kNotFinite;
  const float full = largest / kInt4Max / kMaxFactor;
  scale = full;
  if (full == 0) {
    std::fill(out, out + row.size() / 2, uint8_t{0});
    std::fill(factors, factors + num_groups, uint8_t{0});
    return round_to_zero(row);
  }
  if (rounding_ == Rounding::kSearch) {
    double best = std::numeric_limits<double>::infinity();
    for (float share : kInt4RowScales) {
      const float tried = share * full;
      if (tried == 0) continue;
      divide_row(row, tried);
      const double error = search_factors(row.size()) * tried * tried;
      if (error >= best) continue;
      best = error;
      scale = tried;
      factors_ = nearest_;
    }
    divide_row(row, scale);
  } else {
    divide_row(row, full);
    nearest_factors(row.size());
    factors_ = nearest_;
  }
  rounded_.resize(row.size() + kSpare);
  UnitError error{.weight = sum_of_squares(units_)};
  for_groups(row.size(), [&](size_t group, std::span<const float> x, size_t begin) {
    error.error += int4_error(x, factors_[group]);
    round_int4(x, factors_[group], rounded_.data() + begin);
    factors[group] = static_cast<uint8_t>(factors_[group]);
  });
  pack_int4(std::span(rounded_).first(row.size()), out);
  return error.in_weights(scale);
}

}  // namespace fathom
