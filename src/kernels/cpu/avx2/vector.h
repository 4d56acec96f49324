// Eight-lane helpers of the AVX2 kernels: partial loads and stores, decoding, rounding, e^x. Everything is
// static: no copy of these functions may be shared with code for another instruction set.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/params.h"

namespace fathom::kernels::avx2 {

constexpr int64_t kLanes = 8;
constexpr float kInfinity = __builtin_inff();

static inline int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

// All bits of the first count lanes (at most 8; none where count is negative), none of the others.
static inline __m256i lane_mask(int64_t count) {
  const auto limit = static_cast<int>(max_of(min_of(count, kLanes), 0));
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(limit), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The first count lanes from memory, zeros in the others, whose memory is not touched.
static inline __m256 load_lanes(const float* p, int64_t count) {
  return count >= kLanes ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, lane_mask(count));
}

static inline void store_lanes(float* p, int64_t count, __m256 v) {
  if (count >= kLanes) {
    _mm256_storeu_ps(p, v);
  } else {
    _mm256_maskstore_ps(p, lane_mask(count), v);
  }
}

// ((0+4)+(2+6)) + ((1+5)+(3+7))
static inline float sum_lanes(__m256 v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

static inline float max_lanes(__m256 v) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_shuffle_ps(half, half, 1)));
}

static inline int32_t max_lanes(__m256i v) {
  __m128i half = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

static inline __m256i magnitude_bits(__m256 x) {
  return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

// Decoders: how eight stored elements become eight floats.
struct Float32Elements {
  static constexpr int64_t kBytes = 4;
  static __m256 load(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
};

struct BFloat16Elements {
  static constexpr int64_t kBytes = 2;
  static __m256 load(const void* p) {
    const __m128i bits = _mm_loadu_si128(static_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
};

struct Float16Elements {
  static constexpr int64_t kBytes = 2;
  static __m256 load(const void* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
};

struct Int8Elements {
  static constexpr int64_t kBytes = 1;
  static __m256 load(const void* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))));
  }
};

// target[i] = source[i] * scale for i < count, then zeros up to padded. Reads nothing beyond the last
// element.
template <typename Elements>
static inline void decode(const uint8_t* source, float scale, float* target, int64_t count, int64_t padded) {
  const __m256 factor = _mm256_set1_ps(scale);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    _mm256_storeu_ps(target + i, _mm256_mul_ps(Elements::load(source + i * Elements::kBytes), factor));
  }
  if (i < count) {
    alignas(32) uint8_t last[32] = {};
    memcpy(last, source + i * Elements::kBytes, static_cast<size_t>((count - i) * Elements::kBytes));
    store_lanes(target + i, count - i, _mm256_mul_ps(Elements::load(last), factor));
  }
  for (i = count; i < padded; ++i) target[i] = 0;
}

static inline void decode_floats(DType dtype, const uint8_t* source, float* target, int64_t count,
                                 int64_t padded) {
  if (dtype == DType::kBFloat16) {
    decode<BFloat16Elements>(source, 1.0f, target, count, padded);
  } else if (dtype == DType::kFloat16) {
    decode<Float16Elements>(source, 1.0f, target, count, padded);
  } else {
    decode<Float32Elements>(source, 1.0f, target, count, padded);
  }
}

// To the nearest value with the top 32 - kDropped bits, ties to even; infinities stay, NaN stays a NaN.
template <int kDropped>
static inline __m256 keep_top_bits(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, kDropped), _mm256_set1_epi32(1));
  const __m256i half = _mm256_set1_epi32((1 << (kDropped - 1)) - 1);
  __m256 rounded = _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_add_epi32(half, odd)));
  const __m256 quiet = _mm256_or_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x400000)));
  rounded = _mm256_blendv_ps(rounded, quiet, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_and_ps(rounded, _mm256_castsi256_ps(_mm256_set1_epi32(~((1 << kDropped) - 1))));
}

static inline __m256 round_bfloat16(__m256 x) { return keep_top_bits<16>(x); }

// float16's precision over float32's range: float16's own rounding where it has the value.
static inline __m256 round_float16(__m256 x) {
  const __m256 magnitude = _mm256_castsi256_ps(magnitude_bits(x));
  const __m256 in_range = _mm256_cmp_ps(magnitude, _mm256_set1_ps(65504.0f), _CMP_LT_OQ);
  const __m256 via_half = _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  return _mm256_blendv_ps(keep_top_bits<13>(x), via_half, in_range);
}

static inline __m256 round_lanes(__m256 x, ActivationRounding rounding) {
  if (rounding == ActivationRounding::kBFloat16) return round_bfloat16(x);
  if (rounding == ActivationRounding::kFloat16) return round_float16(x);
  return x;
}

// The upper halves of eight floats that bf16 can hold.
static inline __m128i bfloat16_bits(__m256 rounded) {
  const __m256i words = _mm256_srli_epi32(_mm256_castps_si256(rounded), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

// e^x: x = n ln 2 + f with |f| <= ln 2 / 2, times 2^n a polynomial of degree 6 in f whose coefficients above
// the linear one minimise the relative error (3e-9; with the roundings of float32 below 2 * 2^-24). x above
// 88.3 gives infinity, below -87.3 gives 0; NaN stays NaN.
static inline __m256 exp_lanes(__m256 x) {
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts: n * high is exact.
  __m256 f = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  f = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), f);
  __m256 y = _mm256_set1_ps(1.3814539e-3f);
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(8.368745e-3f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(4.166839e-2f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.6666521e-1f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(4.9999994e-1f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f));
  y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  y = _mm256_mul_ps(y, _mm256_castsi256_ps(exponent));
  const __m256 too_small = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_LT_OQ);
  const __m256 too_large = _mm256_cmp_ps(x, _mm256_set1_ps(88.3f), _CMP_GT_OQ);
  y = _mm256_andnot_ps(too_small, y);
  return _mm256_blendv_ps(y, _mm256_set1_ps(kInfinity), too_large);
}

// 1 / sqrt(mean(x^2) + eps): sixteen sums in double, put together in one order.
static inline float inverse_rms(const float* x, int64_t width, float eps) {
  __m256d sums[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
  for (int64_t i = 0; i < width; i += 16) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256 v = load_lanes(x + i + half * kLanes, width - i - half * kLanes);
      const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
      const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
      sums[2 * half] = _mm256_fmadd_pd(low, low, sums[2 * half]);
      sums[2 * half + 1] = _mm256_fmadd_pd(high, high, sums[2 * half + 1]);
    }
  }
  const __m256d all = _mm256_add_pd(_mm256_add_pd(sums[0], sums[1]), _mm256_add_pd(sums[2], sums[3]));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(all), _mm256_extractf128_pd(all, 1));
  const __m128d one = _mm_add_sd(two, _mm_unpackhi_pd(two, two));
  const double mean = _mm_cvtsd_f64(one) / static_cast<double>(width) + static_cast<double>(eps);
  return static_cast<float>(1.0 / _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(mean))));
}

}  // namespace fathom::kernels::avx2
