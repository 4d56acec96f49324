// Sixteen-lane helpers of the AVX-512 kernels. Everything is static: no copy of these functions may be shared
// with code for another instruction set.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "kernels/params.h"

namespace fathom::kernels::avx512 {

// A mask of the first count lanes; count may be negative or beyond the last lane.
static inline __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1u);
}

// Keeps the upper bits of each float, ties to even; infinities and NaN stay what they are.
static inline __m512 keep_top_bits(__m512 x, unsigned dropped) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, dropped), _mm512_set1_epi32(1));
  const __m512i half = _mm512_set1_epi32((1 << (dropped - 1)) - 1);
  const __m512i mask = _mm512_set1_epi32(-(1 << dropped));
  const __m512i rounded = _mm512_and_si512(_mm512_add_epi32(bits, _mm512_add_epi32(half, odd)), mask);
  const __mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ);
  return _mm512_mask_mov_ps(x, finite, _mm512_castsi512_ps(rounded));
}

// float16's precision over float32's range: below 2^-14 its fixed unit of 2^-24 applies.
static inline __m512 round_float16(__m512 x) {
  const __mmask16 small = _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(0x1p-14f), _CMP_LT_OQ);
  const __m512 via_half = _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  return _mm512_mask_mov_ps(keep_top_bits(x, 13), small, via_half);
}

static inline __m512 round_lanes(__m512 x, ActivationRounding rounding) {
  if (rounding == ActivationRounding::kBFloat16) return keep_top_bits(x, 16);
  if (rounding == ActivationRounding::kFloat16) return round_float16(x);
  return x;
}

// e^x in every lane, error below 1 ulp: x = n ln 2 + f with |f| <= ln 2 / 2, e^f = 1 + f + f^2 P(f) with P
// the minimax polynomial of degree 4 (8e-9 relative), scaled by 2^n. e^0 is exactly 1; beyond float32's range
// infinity or 0; NaN stays NaN.
static inline __m512 exp_lanes(__m512 x) {
  // NaN in the second operand of max and min is the result.
  x = _mm512_min_ps(_mm512_set1_ps(89.0f), _mm512_max_ps(_mm512_set1_ps(-104.0f), x));
  // Adding 1.5 * 2^23 rounds to an integer: cheaper than vrndscaleps.
  const __m512 shift = _mm512_set1_ps(0x1.8p23f);
  const __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(1.44269504f), shift), shift);
  // ln 2 in two parts: n times the high part is exact.
  __m512 f = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  f = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), f);
  __m512 y = _mm512_set1_ps(0.00139262034f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.00836319488f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.0416665545f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.166665769f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.5f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(y, n);
}

// gate / (1 + e^-gate) * up, rounded.
static inline __m512 silu_mul_lanes(__m512 gate, __m512 up, ActivationRounding rounding) {
  const __m512 denominator =
      _mm512_add_ps(_mm512_set1_ps(1.0f), exp_lanes(_mm512_sub_ps(_mm512_setzero_ps(), gate)));
  return round_lanes(_mm512_mul_ps(_mm512_div_ps(gate, denominator), up), rounding);
}

}  // namespace fathom::kernels::avx512
