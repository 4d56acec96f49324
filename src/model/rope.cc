#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fathom {
namespace {

double magnitude(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// The dimension whose frequency turns `turns` times over the original context.
double turning_dimension(const ModelConfig& config, double turns) {
  const double context = static_cast<double>(config.rope_scaling->original_max_position_embeddings);
  return static_cast<double>(config.qk_rope_head_dim) * std::log(context / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(config.rope_theta));
}

}  // namespace

std::vector<float> rope_frequencies(const ModelConfig& config) {
  const int64_t dim = config.qk_rope_head_dim;
  std::vector<float> frequencies(static_cast<size_t>(dim / 2));
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(dim);
    const float period = static_cast<float>(std::pow(config.rope_theta, static_cast<double>(exponent)));
    frequencies[j] = 1.0f / period;
  }
  if (!config.rope_scaling) return frequencies;
  const YarnScaling& yarn = *config.rope_scaling;
  const double low = std::max(0.0, std::floor(turning_dimension(config, yarn.beta_fast)));
  double high = std::min(static_cast<double>(dim - 1), std::ceil(turning_dimension(config, yarn.beta_slow)));
  if (low == high) high += 0.001;
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const float extrapolated = frequencies[j];
    const float interpolated = extrapolated / static_cast<float>(yarn.factor);
    const float ramp =
        std::clamp(static_cast<float>((static_cast<double>(j) - low) / (high - low)), 0.0f, 1.0f);
    const float keep = 1.0f - ramp;
    frequencies[j] = interpolated * (1.0f - keep) + extrapolated * keep;
  }
  return frequencies;
}

float rope_magnitude(const ModelConfig& config) {
  if (!config.rope_scaling) return 1.0f;
  const YarnScaling& yarn = *config.rope_scaling;
  return static_cast<float>(magnitude(yarn.factor, yarn.mscale) /
                            magnitude(yarn.factor, yarn.mscale_all_dim));
}

float attention_scale(const ModelConfig& config) {
  const double scale =
      1.0 / std::sqrt(static_cast<double>(config.qk_nope_head_dim + config.qk_rope_head_dim));
  if (!config.rope_scaling || config.rope_scaling->mscale_all_dim == 0) return static_cast<float>(scale);
  const double m = magnitude(config.rope_scaling->factor, config.rope_scaling->mscale_all_dim);
  return static_cast<float>(scale * m * m);
}

std::vector<float> rope_tables(const ModelConfig& config, int64_t num_positions) {
  const std::vector<float> frequencies = rope_frequencies(config);
  const auto half = static_cast<int64_t>(frequencies.size());
  const float scale = rope_magnitude(config);
  std::vector<float> tables(static_cast<size_t>(2 * num_positions * half));
  float* cosines = tables.data();
  float* sines = cosines + num_positions * half;
  for (int64_t position = 0; position < num_positions; ++position) {
    for (int64_t j = 0; j < half; ++j) {
      const float angle = static_cast<float>(position) * frequencies[static_cast<size_t>(j)];
      cosines[position * half + j] = std::cos(angle) * scale;
      sines[position * half + j] = std::sin(angle) * scale;
    }
  }
  return tables;
}

}  // namespace fathom
