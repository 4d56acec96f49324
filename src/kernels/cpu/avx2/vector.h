// Eight-lane helpers of the AVX2 kernels. Everything is static: no copy of these functions may be shared
// with code for another instruction set.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "kernels/params.h"

namespace fathom::kernels::avx2 {

// Decoders: how eight stored elements become eight floats.
struct DecodeFloat32 {
  using Element = float;
  static __m256 load(const Element* p) { return _mm256_loadu_ps(p); }
  static float one(Element e) { return e; }
};

struct DecodeBFloat16 {
  using Element = uint16_t;
  static __m256 load(const Element* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static float one(Element e) {
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(e) << 16)));
  }
};

struct DecodeFloat16 {
  using Element = uint16_t;
  static __m256 load(const Element* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static float one(Element e) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(e))); }
};

// Calls function with the decoder of dtype.
template <typename Function>
static inline void with_decoder(DType dtype, const Function& function) {
  if (dtype == DType::kBFloat16) {
    function(DecodeBFloat16{});
  } else if (dtype == DType::kFloat16) {
    function(DecodeFloat16{});
  } else {
    function(DecodeFloat32{});
  }
}

// ((0+4)+(2+6)) + ((1+5)+(3+7))
static inline float sum_lanes(__m256 v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

// The first count (1..7) lanes of elements at p, the rest zero; reads nothing beyond them.
template <typename Decoder>
static inline __m256 load_tail(const typename Decoder::Element* p, int64_t count) {
  alignas(32) float lanes[8] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = Decoder::one(p[i]);
  return _mm256_load_ps(lanes);
}

static inline float dot(const float* a, const float* b, int64_t count) {
  __m256 sum = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) sum = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), sum);
  if (i < count) {
    sum = _mm256_fmadd_ps(load_tail<DecodeFloat32>(a + i, count - i),
                          load_tail<DecodeFloat32>(b + i, count - i), sum);
  }
  return sum_lanes(sum);
}

// y += a * x
static inline void add_scaled(float* y, float a, const float* x, int64_t count) {
  const __m256 factor = _mm256_set1_ps(a);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(y + i, _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
  }
  for (; i < count; ++i)
    y[i] = _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(x[i]), _mm_set_ss(y[i])));
}

static inline void scale(float* y, float a, int64_t count) {
  const __m256 factor = _mm256_set1_ps(a);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(y + i, _mm256_mul_ps(factor, _mm256_loadu_ps(y + i)));
  for (; i < count; ++i) y[i] *= a;
}

template <typename Decoder>
static inline void decode_row(const typename Decoder::Element* source, float* target, int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(target + i, Decoder::load(source + i));
  for (; i < count; ++i) target[i] = Decoder::one(source[i]);
}

// e^x in every lane: x = n ln 2 + f with |f| <= ln 2 / 2, the Taylor polynomial of degree 6 in f (relative
// error below 3e-7), times 2^n. x above 88.3 gives infinity, below -87.3 gives 0; NaN stays NaN.
static inline __m256 exp_lanes(__m256 x) {
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts: n * high is exact.
  __m256 f = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  f = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), f);
  __m256 y = _mm256_set1_ps(1.0f / 720);
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f / 120));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f / 24));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f / 6));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(0.5f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  y = _mm256_mul_ps(y, _mm256_castsi256_ps(exponent));
  const __m256 too_small = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_LT_OQ);
  const __m256 too_large = _mm256_cmp_ps(x, _mm256_set1_ps(88.3f), _CMP_GT_OQ);
  y = _mm256_andnot_ps(too_small, y);
  return _mm256_blendv_ps(y, _mm256_set1_ps(__builtin_inff()), too_large);
}

}  // namespace fathom::kernels::avx2
