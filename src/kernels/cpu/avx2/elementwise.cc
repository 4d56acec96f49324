#include "kernels/cpu/avx2/kernels.h"
#include "kernels/cpu/avx2/vector.h"

namespace fathom::kernels::avx2 {
namespace {

// The first count / 2 values of p, each twice: what pairs are rotated by.
__m256 load_doubled(const float* p, int64_t count) {
  const __m256 four = _mm256_castps128_ps256(
      count >= kLanes ? _mm_loadu_ps(p) : _mm_maskload_ps(p, _mm256_castsi256_si128(lane_mask(count / 2))));
  return _mm256_permutevar8x32_ps(four, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

// Pairs (a, b) as complex numbers a + ib, times cos + i sin.
void rotate(const float* from, const float* cosines, const float* sines, int64_t rope_dim, float* to) {
  for (int64_t i = 0; i < rope_dim; i += kLanes) {
    const int64_t count = rope_dim - i;
    const __m256 pairs = load_lanes(from + i, count);
    const __m256 swapped = _mm256_permute_ps(pairs, 0xb1);
    const __m256 along = _mm256_mul_ps(pairs, load_doubled(cosines + i / 2, count));
    const __m256 across = _mm256_mul_ps(swapped, load_doubled(sines + i / 2, count));
    store_lanes(to + i, count, _mm256_addsub_ps(along, across));
  }
}

// Count (1 to 8) values from the register to the cache.
void store_elements(uint8_t* out, DType dtype, int64_t count, __m256 v) {
  if (dtype == DType::kFloat32) return store_lanes(reinterpret_cast<float*>(out), count, v);
  __m128i bits;
  if (dtype == DType::kBFloat16) {
    bits = bfloat16_bits(round_bfloat16(v));
  } else {
    // The second operand is the result where one is NaN.
    v = _mm256_max_ps(_mm256_set1_ps(-65504.0f), _mm256_min_ps(_mm256_set1_ps(65504.0f), v));
    bits = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  if (count >= kLanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bits);
  } else {
    memcpy(out, &bits, static_cast<size_t>(2 * count));
  }
}

// The latent of one token, normed whenever eight of its values are wanted.
struct Latent {
  const float* c;
  const float* weight;
  __m256 scale;

  __m256 values(int64_t i, int64_t count) const {
    return _mm256_mul_ps(_mm256_mul_ps(load_lanes(c + i, count), scale), load_lanes(weight + i, count));
  }
};

// The latent as bytes; returns their scale, NaN where a value is not finite.
float store_int8(const Latent& latent, int64_t latent_dim, uint8_t* out) {
  __m256i bits = _mm256_setzero_si256();
  for (int64_t i = 0; i < latent_dim; i += kLanes) {
    const int64_t count = latent_dim - i;
    // A scale that is not finite makes NaN of the lanes beyond the last; the others then hold one too.
    bits = _mm256_max_epi32(bits, magnitude_bits(latent.values(i, count)));
  }
  const int32_t largest_bits = max_lanes(bits);
  const bool finite = largest_bits < 0x7f800000;
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(largest_bits)));
  const float inverse = finite && largest > 0 ? kInt8Limit / largest : 0.0f;
  const __m256 factor = _mm256_set1_ps(inverse);
  for (int64_t i = 0; i < latent_dim; i += kLanes) {
    const int64_t count = min_of(latent_dim - i, kLanes);
    __m256i q = _mm256_setzero_si256();
    if (inverse > 0 && inverse < kInfinity) {
      q = _mm256_cvtps_epi32(_mm256_mul_ps(latent.values(i, count), factor));
    }
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    memcpy(out + i, &bytes, static_cast<size_t>(count));
  }
  return finite ? largest / kInt8Limit : __builtin_nanf("");
}

}  // namespace

void rope_query(const RopeQueryParams& p) {
  const int64_t half = p.rope_dim / 2;
  for (int64_t t = p.begin; t < p.end; ++t) {
    const float* cosines = p.cos_table + p.positions[t] * half;
    const float* sines = p.sin_table + p.positions[t] * half;
    for (int64_t h = 0; h < p.num_heads; ++h) {
      float* rope = p.q + (t * p.num_heads + h) * (p.nope_dim + p.rope_dim) + p.nope_dim;
      rotate(rope, cosines, sines, p.rope_dim, rope);
    }
  }
}

void store_latent(const StoreLatentParams& p) {
  const LatentCacheView& cache = p.cache;
  const int64_t half = cache.rope_dim / 2;
  const bool is_int8 = cache.dtype == DType::kInt8;
  const DType rope_dtype = is_int8 ? cache.rope_dtype : cache.dtype;
  const int64_t rope_bytes = rope_dtype == DType::kFloat32 ? 4 : 2;
  const int64_t row_bytes = latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim);
  for (int64_t t = p.begin; t < p.end; ++t) {
    const float* kv = p.kv_a + t * (cache.latent_dim + cache.rope_dim);
    auto* out = static_cast<uint8_t*>(cache.data) + p.slots[t] * row_bytes;
    const Latent latent{kv, p.norm_weight, _mm256_set1_ps(inverse_rms(kv, cache.latent_dim, p.eps))};
    if (is_int8) {
      const float scale = store_int8(latent, cache.latent_dim, out);
      memcpy(out + row_bytes - sizeof(scale), &scale, sizeof(scale));
    } else {
      for (int64_t i = 0; i < cache.latent_dim; i += kLanes) {
        const int64_t count = cache.latent_dim - i;
        store_elements(out + i * rope_bytes, cache.dtype, count, latent.values(i, count));
      }
    }
    uint8_t* rope_out = out + cache.latent_dim * (is_int8 ? 1 : rope_bytes);
    for (int64_t i = 0; i < cache.rope_dim; i += kLanes) {
      const int64_t count = min_of(cache.rope_dim - i, kLanes);
      alignas(32) float rotated[kLanes] = {};
      const int64_t angle = p.positions[t] * half + i / 2;
      rotate(kv + cache.latent_dim + i, p.cos_table + angle, p.sin_table + angle, count, rotated);
      store_elements(rope_out + i * rope_bytes, rope_dtype, count, _mm256_load_ps(rotated));
    }
  }
}

}  // namespace fathom::kernels::avx2
