// Rows of the latent cache as words.
//
// A row of words is the latent, filled up to whole words, then the rotated key. Latents of an int8 cache are
// the bytes themselves, exact in bf16 and in float32; the row's scale is kept apart and multiplies the sums.
#pragma once

#include "kernels/cpu/avx512/words.h"

namespace fathom::kernels::avx512 {

// Sixteen elements as floats; lanes not given are zeros and not read.
template <DType kType>
static inline __m512 load_elements(const uint8_t* p, __mmask16 lanes) {
  if constexpr (kType == DType::kBFloat16) {
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
  } else if constexpr (kType == DType::kFloat16) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, p));
  } else if constexpr (kType == DType::kInt8) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(lanes, p)));
  } else {
    return _mm512_maskz_loadu_ps(lanes, p);
  }
}

static constexpr int64_t element_bytes(DType dtype) {
  return dtype == DType::kInt8 ? 1 : dtype == DType::kFloat32 ? 4 : 2;
}

template <typename Words, DType kType>
static inline void decode_as(const uint8_t* elements, int64_t count, uint8_t* words) {
  store_words<Words>(
      count,
      [&](int64_t i, __mmask16 lanes) {
        return load_elements<kType>(elements + i * element_bytes(kType), lanes);
      },
      words);
}

// Writes count elements as words_of(count) words.
template <typename Words>
static inline void decode(const uint8_t* elements, DType dtype, int64_t count, uint8_t* words) {
  switch (dtype) {
    case DType::kBFloat16:
      return decode_as<Words, DType::kBFloat16>(elements, count, words);
    case DType::kFloat16:
      return decode_as<Words, DType::kFloat16>(elements, count, words);
    case DType::kInt8:
      return decode_as<Words, DType::kInt8>(elements, count, words);
    default:
      return decode_as<Words, DType::kFloat32>(elements, count, words);
  }
}

static inline const uint8_t* cache_row(const LatentCacheView& cache, const int32_t* page_table,
                                       int64_t position) {
  const int64_t row = static_cast<int64_t>(page_table[position / cache.block_size]) * cache.block_size +
                      position % cache.block_size;
  return static_cast<const uint8_t*>(cache.data) +
         row * latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim);
}

static inline float row_scale(const LatentCacheView& cache, const uint8_t* row) {
  float scale = 1.0f;
  if (cache.dtype == DType::kInt8) memcpy(&scale, row + cache.latent_dim + 2 * cache.rope_dim, sizeof(scale));
  return scale;
}

template <typename Words>
static inline void decode_latent(const LatentCacheView& cache, const uint8_t* row, uint8_t* words) {
  decode<Words>(row, cache.dtype, cache.latent_dim, words);
}

template <typename Words>
static inline void decode_rope(const LatentCacheView& cache, const uint8_t* row, uint8_t* words) {
  const DType dtype = cache.dtype == DType::kInt8 ? cache.rope_dtype : cache.dtype;
  decode<Words>(row + cache.latent_dim * element_bytes(cache.dtype), dtype, cache.rope_dim, words);
}

}  // namespace fathom::kernels::avx512
