// Sixteen-lane helpers of the AMX kernels. Everything is static: no copy of these functions may be shared
// with code for another instruction set.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/amx/tiles.h"
#include "kernels/params.h"

namespace fathom::kernels::FATHOM_AMX_NAMESPACE {

// A mask of the first count lanes; count may be negative or beyond the last lane.
static inline __mmask16 first_lanes16(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}

static inline __mmask32 first_lanes32(int64_t count) {
  return static_cast<__mmask32>(count >= 32 ? 0xffffffffu : count <= 0 ? 0u : (1u << count) - 1u);
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

// bits, without its lowest `dropped` ones: to nearest, ties to even.
static inline __m512i round_bits(__m512i bits, unsigned dropped) {
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, dropped), _mm512_set1_epi32(1));
  const int32_t unit = int32_t{1} << dropped;
  const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(unit / 2 - 1)), odd);
  return _mm512_and_si512(sum, _mm512_set1_epi32(-unit));
}

// As ref::round_activation.
static inline __m512 round_lanes(__m512 x, ActivationRounding rounding) {
  if (rounding == ActivationRounding::kNone) return x;
  const __m512i bits = _mm512_castps_si512(x);
  const __m512 magnitude = _mm512_abs_ps(x);
  const __mmask16 finite = _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ);
  if (rounding == ActivationRounding::kBFloat16) {
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(bits, finite, round_bits(bits, 16)));
  }
  const __m512i large = _mm512_mask_mov_epi32(bits, finite, round_bits(bits, 13));
  const __mmask16 small = _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(65504.0f), _CMP_LT_OQ);
  const __m512 half = _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  return _mm512_mask_mov_ps(_mm512_castsi512_ps(large), small, half);
}

// 32 floats to bf16, to nearest even, subnormal numbers to zero: low fills the lower half.
static inline __m512i to_bf16(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

static inline __m256i to_bf16(__m512 x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }

// Lane i of the result holds bf16 of even[i], then of odd[i].
static inline __m512i to_bf16_pairs(__m512 even, __m512 odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                         22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, to_bf16(even, odd));
}

// Rows become columns of 32-bit elements, in place.
static inline void transpose(__m512i (&r)[16]) {
  __m512i t[16], u[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // Quarter q of u[4 i + j] now holds column 4 q + j of rows 4 i to 4 i + 3.
  for (int j = 0; j < 4; ++j) {
    const __m512i even_low = _mm512_shuffle_i32x4(u[j], u[4 + j], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(u[j], u[4 + j], 0xdd);
    const __m512i even_high = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0x88);
    const __m512i odd_high = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0xdd);
    r[j] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
    r[4 + j] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
    r[8 + j] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
    r[12 + j] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
  }
}

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE
