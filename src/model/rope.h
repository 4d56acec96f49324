// Rotary position tables with YaRN (Peng et al. 2023), exactly as the reference computes them: float32
// frequencies, float32 angles, at all lengths.
#pragma once

#include <cstdint>
#include <vector>

#include "checkpoint/model_config.h"

namespace fathom {

// r / 2 frequencies. Without scaling base^(-2j / r); with YaRN blended between f_j / factor and f_j by a ramp
// over j whose ends are the dimensions that turn beta_fast and beta_slow times over the original context.
std::vector<float> rope_frequencies(const ModelConfig& config);

// What cos and sin are multiplied by: m(mscale) / m(mscale_all_dim), m(s) = 0.1 s ln(factor) + 1 for factor
// > 1. 1 without scaling.
float rope_magnitude(const ModelConfig& config);

// (n + r)^-1/2, times m(mscale_all_dim)^2 if there is scaling and mscale_all_dim is not 0.
float attention_scale(const ModelConfig& config);

// cosines, then sines: [2, num_positions, r / 2].
std::vector<float> rope_tables(const ModelConfig& config, int64_t num_positions);

}  // namespace fathom
