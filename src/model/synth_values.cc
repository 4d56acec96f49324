#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/float16.h"
#include "base/random.h"
#include "model/synth.h"

namespace fathom {
namespace {

// A normal distribution in 2^12 equally likely values: they fit the first-level cache, and 16 bits of a
// random word choose one.
constexpr int kTableBits = 12;
constexpr int kTableSize = 1 << kTableBits;
constexpr int kValuesPerWord = 4;
constexpr int kBitsPerValue = 16;

// x with P(normal <= x) = p, for p > 1/2, by bisection.
double normal_quantile(double p) {
  double low = 0;
  double high = 10;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (1 - 0.5 * std::erfc(middle / std::numbers::sqrt2) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

// Symmetric, ascending, mean 0.
std::vector<double> normal_table() {
  std::vector<double> table(kTableSize);
  for (int i = kTableSize / 2; i < kTableSize; ++i) {
    const double quantile = normal_quantile((i + 0.5) / kTableSize);
    table[static_cast<size_t>(i)] = quantile;
    table[static_cast<size_t>(kTableSize - 1 - i)] = -quantile;
  }
  return table;
}

struct Distribution {
  double mean = 0;
  double deviation = 0;
};

// Linear layers keep the scale of their input: deviation 1/sqrt(fan-in). Those that write to the residual
// stream share it out over the 2 L blocks. The router's logits get deviation 2, so that a few experts lead.
Distribution distribution_of(const WeightSpec& spec, const ModelConfig& config) {
  const double fan_in = static_cast<double>(spec.shape[spec.shape.rank() - 1]);
  const double blocks = 2 * static_cast<double>(config.num_hidden_layers);
  switch (spec.role) {
    case WeightRole::kEmbedTokens:
      return {0, 1};
    case WeightRole::kInputNorm:
    case WeightRole::kQANorm:
    case WeightRole::kKvANorm:
    case WeightRole::kPostAttentionNorm:
    case WeightRole::kFinalNorm:
      return {1, 0.05};
    case WeightRole::kQABias:
    case WeightRole::kKvABias:
    case WeightRole::kOBias:
      return {0, 0.02};
    case WeightRole::kRouter:
    case WeightRole::kLmHead:
      return {0, 2 / std::sqrt(fan_in)};
    case WeightRole::kOProj:
    case WeightRole::kDenseDown:
    case WeightRole::kSharedDown:
    case WeightRole::kExpertDown:
      return {0, 1 / std::sqrt(fan_in * blocks)};
    default:
      return {0, 1 / std::sqrt(fan_in)};
  }
}

template <typename T>
void fill_from(const std::vector<T>& values, uint64_t key, int64_t begin, int64_t end, T* out) {
  const auto value_at = [&](uint64_t word, int64_t lane) {
    return values[(word >> (lane * kBitsPerValue)) & (kTableSize - 1)];
  };
  int64_t i = begin;
  for (; i < end && i % kValuesPerWord != 0; ++i) {
    *out++ = value_at(random_bits(key, static_cast<uint64_t>(i / kValuesPerWord)), i % kValuesPerWord);
  }
  for (; i + kValuesPerWord <= end; i += kValuesPerWord) {
    const uint64_t word = random_bits(key, static_cast<uint64_t>(i / kValuesPerWord));
    for (int64_t lane = 0; lane < kValuesPerWord; ++lane) *out++ = value_at(word, lane);
  }
  for (; i < end; ++i) {
    *out++ = value_at(random_bits(key, static_cast<uint64_t>(i / kValuesPerWord)), i % kValuesPerWord);
  }
}

}  // namespace

SynthTensor::SynthTensor(const WeightSpec& spec, const ModelConfig& config, uint64_t seed)
    : key_(random_key(seed, spec.name)) {
  static const std::vector<double> kNormal = normal_table();
  const Distribution distribution = distribution_of(spec, config);
  const auto add16 = [this](auto value) {
    values16_.push_back(value.bits);
    values_.push_back(to_float(value));
  };
  for (double quantile : kNormal) {
    const float value = static_cast<float>(distribution.mean + distribution.deviation * quantile);
    switch (config.torch_dtype) {
      case DType::kBFloat16:
        add16(from_float<BFloat16>(value));
        break;
      case DType::kFloat16:
        add16(from_float<Float16>(value));
        break;
      case DType::kFloat32:
        values_.push_back(value);
        break;
      default:
        FATHOM_CHECK(false, "dtype {}", dtype_name(config.torch_dtype));
    }
  }
}

void SynthTensor::copy(int64_t begin, int64_t end, std::byte* out) const {
  if (!values16_.empty()) {
    fill_from(values16_, key_, begin, end, reinterpret_cast<uint16_t*>(out));
  } else {
    fill_from(values_, key_, begin, end, reinterpret_cast<float*>(out));
  }
}

void SynthTensor::read_row(int64_t row, std::span<float> out) const {
  const auto row_size = static_cast<int64_t>(out.size());
  fill_from(values_, key_, row * row_size, (row + 1) * row_size, out.data());
}

}  // namespace fathom
