// What the linears of every form share: which tokens and panels are taken together, and what becomes of a
// product's values. A family gives
//
//   static constexpr int kTokens                     the most tokens of a tile
//   static constexpr int64_t kTokenBytes             of one input of a token
//   template <int kTokens> static void values(p, t, panel, float (*out)[16])
//                                                    v[t + m, 16 panel + j] without bias
#pragma once

#include "kernels/cpu/avx2/tile.h"

namespace fathom::kernels::avx2 {

// Bytes of inputs that pass over a panel before the next panel is read: with the panel they stay in L2.
constexpr int64_t kInputBlockBytes = int64_t{512} << 10;

static inline __m256 silu_mul_lanes(__m256 gate, __m256 up, ActivationRounding rounding) {
  const __m256 power = exp_lanes(_mm256_xor_ps(gate, _mm256_set1_ps(-0.0f)));
  const __m256 silu = _mm256_div_ps(gate, _mm256_add_ps(_mm256_set1_ps(1.0f), power));
  return round_lanes(_mm256_mul_ps(silu, up), rounding);
}

// Writes count (1 to 8) values of token t from column j on.
static inline void put(const LinearParams& p, int64_t t, int64_t j, int64_t count, __m256 value) {
  using Output = LinearParams::Output;
  if (p.bias != nullptr) value = _mm256_add_ps(value, load_lanes(p.bias + j, count));
  float* y = p.y + (p.y_rows != nullptr ? p.y_rows[t] : t) * p.y_stride + j;
  if (p.output == Output::kAddWeighted) value = _mm256_mul_ps(_mm256_set1_ps(p.y_weights[t]), value);
  if (p.output == Output::kAdd || p.output == Output::kAddWeighted) {
    value = _mm256_add_ps(load_lanes(y, count), value);
  }
  store_lanes(y, count, value);
}

template <typename Family, int kTokens>
static void linear_tile(const LinearParams& p, int64_t t, int64_t panel) {
  alignas(32) float first[kTokens][kPanelRows];
  alignas(32) float second[kTokens][kPanelRows];
  const bool paired = p.output == LinearParams::Output::kSiluMul;
  Family::template values<kTokens>(p, t, panel, first);
  if (paired) Family::template values<kTokens>(p, t, panel + 1, second);
  const int64_t column = (paired ? panel / 2 : panel) * kPanelRows;
  for (int m = 0; m < kTokens; ++m) {
    for (int64_t j = 0; j < kPanelRows && column + j < p.num_outputs; j += kLanes) {
      __m256 value = _mm256_load_ps(first[m] + j);
      if (paired) value = silu_mul_lanes(value, _mm256_load_ps(second[m] + j), p.rounding);
      put(p, t + m, column + j, min_of(kLanes, p.num_outputs - column - j), value);
    }
  }
}

template <typename Family>
static void linear(const LinearParams& p) {
  const int64_t step = p.output == LinearParams::Output::kSiluMul ? 2 : 1;
  const int64_t token_bytes = p.x_stride * Family::kTokenBytes;
  const int64_t block =
      max_of(kInputBlockBytes / max_of(token_bytes, 1) / Family::kTokens, 1) * Family::kTokens;
  for (int64_t first = 0; first < p.num_tokens; first += block) {
    const int64_t end = min_of(first + block, p.num_tokens);
    for (int64_t panel = p.begin; panel < p.end; panel += step) {
      for (int64_t t = first; t < end;) {
        const int64_t tokens = next_tile_rows(end - t, Family::kTokens);
        with_count<Family::kTokens>(
            tokens, [&](auto count) { linear_tile<Family, decltype(count)::value>(p, t, panel); });
        t += tokens;
      }
    }
  }
}

}  // namespace fathom::kernels::avx2
