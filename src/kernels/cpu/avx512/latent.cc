// What attention's inputs go through: rotation of queries; norm, rotation and rounding of a row of the latent
// cache. Each step is rounded as in the scalar reference, so that equal norms give equal bytes.
#include "kernels/cpu/avx512/attention.h"
#include "kernels/cpu/avx512/cache_rows.h"

namespace fathom::kernels::avx512 {
namespace {

constexpr float kFloat16Largest = 65504.0f;

// 1 / sqrt(mean(x^2) + eps), summed in double.
float inverse_rms(const float* x, int64_t count, float eps) {
  __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
  for (int64_t i = 0; i < count; i += kLanes) {
    const __m512 lanes = _mm512_maskz_loadu_ps(lanes16(count - i), x + i);
    const __m512d first = _mm512_cvtps_pd(_mm512_castps512_ps256(lanes));
    const __m512d second = _mm512_cvtps_pd(_mm512_extractf32x8_ps(lanes, 1));
    low = _mm512_fmadd_pd(first, first, low);
    high = _mm512_fmadd_pd(second, second, high);
  }
  const double sum = _mm512_reduce_add_pd(_mm512_add_pd(low, high));
  const __m128d root = _mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(sum / static_cast<double>(count) + eps));
  return static_cast<float>(1.0 / _mm_cvtsd_f64(root));
}

// y = x with its pairs (a, b) turned to (a cos - b sin, a sin + b cos). y may be x.
void rotate(const float* x, const float* cosines, const float* sines, int64_t count, float* y) {
  const __m512i each_twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 lanes = lanes16(count - i);
    const __mmask16 half = lanes16((count - i < kLanes ? count - i : kLanes) / 2);
    const __m512 pairs = _mm512_maskz_loadu_ps(lanes, x + i);
    const __m512 swapped = _mm512_permute_ps(pairs, 0xb1);
    const __m512 c = _mm512_permutexvar_ps(each_twice, _mm512_maskz_loadu_ps(half, cosines + i / 2));
    const __m512 s = _mm512_permutexvar_ps(each_twice, _mm512_maskz_loadu_ps(half, sines + i / 2));
    const __m512 straight = _mm512_mul_ps(pairs, c);
    const __m512 crossed = _mm512_mul_ps(swapped, s);
    const __m512 sum = _mm512_add_ps(straight, crossed);
    _mm512_mask_storeu_ps(y + i, lanes, _mm512_mask_sub_ps(sum, 0x5555, straight, crossed));
  }
}

// To bf16, nearest, ties to even, NaN quiet; by integers, since not every CPU of this tier has more.
__m256i to_bfloat16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, is_nan, quiet), 16));
}

// Saturates; a NaN passes both bounds.
__m256i to_float16(__m512 x) {
  const __m512 above = _mm512_max_ps(_mm512_set1_ps(-kFloat16Largest), x);
  const __m512 bounded = _mm512_min_ps(_mm512_set1_ps(kFloat16Largest), above);
  return _mm512_cvtps_ph(bounded, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// count floats as elements of a floating dtype.
void write_floats(const float* values, int64_t count, DType dtype, uint8_t* out) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 lanes = lanes16(count - i);
    const __m512 x = _mm512_maskz_loadu_ps(lanes, values + i);
    if (dtype == DType::kFloat32) {
      _mm512_mask_storeu_ps(out + i * 4, lanes, x);
    } else {
      _mm256_mask_storeu_epi16(out + i * 2, lanes,
                               dtype == DType::kBFloat16 ? to_bfloat16(x) : to_float16(x));
    }
  }
}

// The normalised latent (x * scale) * weight of 16 elements from i on.
__m512 normed(const StoreLatentParams& p, const float* x, float scale, int64_t i) {
  const __mmask16 lanes = lanes16(p.cache.latent_dim - i);
  const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_set1_ps(scale));
  return _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(lanes, p.norm_weight + i));
}

void write_latent(const StoreLatentParams& p, const float* x, float scale, uint8_t* out) {
  const int64_t bytes = element_bytes(p.cache.dtype);
  for (int64_t i = 0; i < p.cache.latent_dim; i += kLanes) {
    alignas(64) float values[kLanes];
    _mm512_store_ps(values, normed(p, x, scale, i));
    const int64_t rest = p.cache.latent_dim - i;
    write_floats(values, rest < kLanes ? rest : kLanes, p.cache.dtype, out + i * bytes);
  }
}

// The bytes, and their scale behind the rotated key. A row that is not finite is zeros with a scale of NaN.
void write_latent_int8(const StoreLatentParams& p, const float* x, float scale, uint8_t* out) {
  const int64_t count = p.cache.latent_dim;
  __m512 largest_lanes = _mm512_setzero_ps();
  __mmask16 not_finite = 0;
  for (int64_t i = 0; i < count; i += kLanes) {
    const __m512 magnitude = _mm512_abs_ps(normed(p, x, scale, i));
    not_finite |= _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(__builtin_inff()), _CMP_NLT_UQ);
    largest_lanes = _mm512_max_ps(largest_lanes, magnitude);
  }
  const float largest = _mm512_reduce_max_ps(largest_lanes);
  const bool finite = not_finite == 0;
  const float inverse = finite && largest > 0 ? kInt8Limit / largest : 0.0f;
  const float row_factor = finite ? largest / kInt8Limit : __builtin_nanf("");
  for (int64_t i = 0; i < count; i += kLanes) {
    const __m512 q = _mm512_mul_ps(normed(p, x, scale, i), _mm512_set1_ps(inverse));
    const __m512i whole = inverse > 0 ? _mm512_cvtps_epi32(q) : _mm512_setzero_si512();
    _mm_mask_storeu_epi8(out + i, lanes16(count - i), _mm512_cvtepi32_epi8(whole));
  }
  memcpy(out + count + 2 * p.cache.rope_dim, &row_factor, sizeof(row_factor));
}

void write_rope(const StoreLatentParams& p, int64_t t, uint8_t* out) {
  const LatentCacheView& cache = p.cache;
  const DType dtype = cache.dtype == DType::kInt8 ? cache.rope_dtype : cache.dtype;
  const float* key = p.kv_a + t * (cache.latent_dim + cache.rope_dim) + cache.latent_dim;
  const int64_t table = p.positions[t] * (cache.rope_dim / 2);
  for (int64_t i = 0; i < cache.rope_dim; i += kLanes) {
    const int64_t count = cache.rope_dim - i < kLanes ? cache.rope_dim - i : kLanes;
    alignas(64) float values[kLanes];
    rotate(key + i, p.cos_table + table + i / 2, p.sin_table + table + i / 2, count, values);
    write_floats(values, count, dtype, out + i * element_bytes(dtype));
  }
}

}  // namespace

void rope_query(const RopeQueryParams& p) {
  const int64_t half = p.rope_dim / 2;
  for (int64_t t = p.begin; t < p.end; ++t) {
    for (int64_t h = 0; h < p.num_heads; ++h) {
      float* rope = p.q + (t * p.num_heads + h) * (p.nope_dim + p.rope_dim) + p.nope_dim;
      rotate(rope, p.cos_table + p.positions[t] * half, p.sin_table + p.positions[t] * half, p.rope_dim,
             rope);
    }
  }
}

void store_latent(const StoreLatentParams& p) {
  const LatentCacheView& cache = p.cache;
  for (int64_t t = p.begin; t < p.end; ++t) {
    const float* x = p.kv_a + t * (cache.latent_dim + cache.rope_dim);
    const float scale = inverse_rms(x, cache.latent_dim, p.eps);
    auto* row = static_cast<uint8_t*>(cache.data) +
                p.slots[t] * latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim);
    write_rope(p, t, row + cache.latent_dim * element_bytes(cache.dtype));
    if (cache.dtype == DType::kInt8) {
      write_latent_int8(p, x, scale, row);
    } else {
      write_latent(p, x, scale, row);
    }
  }
}

}  // namespace fathom::kernels::avx512
