// What a linear does with the sums of its tiles: scales, bias, SiLU and the four ways to write y. Each step
// is rounded to float32 in the order of LinearParams.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/amx/vector.h"
#include "kernels/params.h"

namespace fathom::kernels::FATHOM_AMX_NAMESPACE {

// The 16 outputs of one panel.
template <InputForm kForm>
class PanelValues {
 public:
  PanelValues(const LinearParams& p, int64_t panel) {
    if constexpr (kForm != InputForm::kBFloat16) {
      scales_ = _mm512_loadu_ps(p.weight_scales + panel * kPanelRows);
      // Sums of q + zero_point instead of q.
      excess_ = _mm512_mullo_epi32(_mm512_loadu_si512(p.weight_sums + panel * kPanelRows),
                                   _mm512_set1_epi32(p.int8_zero_point));
    }
  }

  // v of LinearParams without bias; sums: the token's first row of 16 in the tile.
  __m512 value(const int32_t* sums, float x_scale) const {
    if constexpr (kForm == InputForm::kBFloat16) return _mm512_load_ps(sums);
    __m512 product = exact(sums);
    if constexpr (kForm == InputForm::kInt8Pair) {
      product = _mm512_fmadd_ps(product, _mm512_set1_ps(kDigitBase), exact(sums + kPanelRows));
    }
    return _mm512_mul_ps(_mm512_mul_ps(product, scales_), _mm512_set1_ps(x_scale));
  }

 private:
  __m512 exact(const int32_t* sums) const {
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(sums), excess_));
  }

  __m512 scales_ = _mm512_setzero_ps();
  __m512i excess_ = _mm512_setzero_si512();
};

template <LinearParams::Output kOutput>
static inline void put(const LinearParams& p, int64_t t, int64_t j, __mmask16 columns, __m512 value) {
  float* y = p.y + (p.y_rows != nullptr ? p.y_rows[t] : t) * p.y_stride + j;
  if constexpr (kOutput == LinearParams::Output::kAddWeighted) {
    value = _mm512_mul_ps(_mm512_set1_ps(p.y_weights[t]), value);
  }
  if constexpr (kOutput == LinearParams::Output::kAdd || kOutput == LinearParams::Output::kAddWeighted) {
    value = _mm512_add_ps(_mm512_maskz_loadu_ps(columns, y), value);
  }
  _mm512_mask_storeu_ps(y, columns, value);
}

// Sums of tokens [begin, end) by one panel, or by a pair of gate and up; the tile's first row is of token
// `first`.
struct TileTokens {
  int64_t first;
  int64_t begin;
  int64_t end;
};

template <InputForm kForm, LinearParams::Output kOutput>
static inline void write_panel(const LinearParams& p, int64_t panel, const int32_t* sums,
                               const TileTokens& tokens) {
  const int64_t row_step = kForm == InputForm::kInt8Pair ? 2 * kPanelRows : kPanelRows;
  const int64_t j = panel * kPanelRows;
  const __mmask16 columns = first_lanes(p.num_outputs - j);
  const PanelValues<kForm> values(p, panel);
  const bool has_bias = p.bias != nullptr;
  const __m512 bias = has_bias ? _mm512_maskz_loadu_ps(columns, p.bias + j) : _mm512_setzero_ps();
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    const float x_scale = kForm == InputForm::kBFloat16 ? 1.0f : p.x_scales[t];
    __m512 value = values.value(sums + (t - tokens.first) * row_step, x_scale);
    if (has_bias) value = _mm512_add_ps(value, bias);
    put<kOutput>(p, t, j, columns, value);
  }
}

template <InputForm kForm>
static inline void write_silu_mul(const LinearParams& p, int64_t panel, const int32_t* gate_sums,
                                  const int32_t* up_sums, const TileTokens& tokens) {
  const int64_t row_step = kForm == InputForm::kInt8Pair ? 2 * kPanelRows : kPanelRows;
  const int64_t j = panel / 2 * kPanelRows;
  const __mmask16 columns = first_lanes(p.num_outputs - j);
  const PanelValues<kForm> gates(p, panel), ups(p, panel + 1);
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    const float x_scale = kForm == InputForm::kBFloat16 ? 1.0f : p.x_scales[t];
    const int64_t row = (t - tokens.first) * row_step;
    const __m512 gate = gates.value(gate_sums + row, x_scale);
    const __m512 up = ups.value(up_sums + row, x_scale);
    put<LinearParams::Output::kStore>(p, t, j, columns, silu_mul_lanes(gate, up, p.rounding));
  }
}

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE
