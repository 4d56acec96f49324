// Rows of the latent cache as floats, and what the two forms of attention share.
#pragma once

#include "kernels/cpu/avx2/tile.h"

namespace fathom::kernels::avx2 {

// Floats a row of `width` takes: whole lines, an odd number of them, so that the same line of many rows does
// not fall into few sets of L1.
static inline int64_t spread_stride(int64_t width) {
  const int64_t stride = round_up(width, 16);
  return stride % 32 == 0 ? stride + 16 : stride;
}

static inline const uint8_t* cached_row(const LatentCacheView& cache, const int32_t* page_table,
                                        int64_t position) {
  const int64_t row = static_cast<int64_t>(page_table[position / cache.block_size]) * cache.block_size +
                      position % cache.block_size;
  return static_cast<const uint8_t*>(cache.data) +
         row * latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim);
}

// The latent of a row, then zeros up to padded.
static inline void decode_latent(const LatentCacheView& cache, const uint8_t* row, float* target,
                                 int64_t padded) {
  if (cache.dtype != DType::kInt8) {
    return decode_floats(cache.dtype, row, target, cache.latent_dim, padded);
  }
  float scale;
  memcpy(&scale, row + cache.latent_dim + 2 * cache.rope_dim, sizeof(scale));
  decode<Int8Elements>(row, scale, target, cache.latent_dim, padded);
}

// The rotated key of a row, then zeros up to padded.
static inline void decode_rope(const LatentCacheView& cache, const uint8_t* row, float* target,
                               int64_t padded) {
  const bool is_int8 = cache.dtype == DType::kInt8;
  const int64_t bytes = is_int8 ? 1 : cache.dtype == DType::kFloat32 ? 4 : 2;
  decode_floats(is_int8 ? cache.rope_dtype : cache.dtype, row + cache.latent_dim * bytes, target,
                cache.rope_dim, padded);
}

static inline __m256 rounded(__m256 v, AttentionPrecision precision) {
  return precision == AttentionPrecision::kBFloat16 ? round_bfloat16(v) : v;
}

// e^x in lane 0 and of one value.
static inline float exp_one(float x) { return _mm256_cvtss_f32(exp_lanes(_mm256_set1_ps(x))); }

// sums[m][16] = factors[m] * sums[m][16] + the product of a tile, zero in place of the first term where there
// is no factor. Lines are floats.
template <int kRows>
static inline void add_tile(const TileInputs& in, const float* lines, int64_t line_stride, int64_t num_lines,
                            const float* factors, float* sums, int64_t sums_stride) {
  TileSums<kRows, 2> tile;
  clear(tile);
  if (factors != nullptr) {
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const __m256 factor = _mm256_broadcast_ss(factors + m);
      tile.v[m][0] = _mm256_mul_ps(factor, _mm256_loadu_ps(sums + m * sums_stride));
      tile.v[m][1] = _mm256_mul_ps(factor, _mm256_loadu_ps(sums + m * sums_stride + kLanes));
    }
  }
  multiply<Float32Lines>(in, reinterpret_cast<const uint8_t*>(lines), line_stride * 4, num_lines, tile);
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    _mm256_storeu_ps(sums + m * sums_stride, tile.v[m][0]);
    _mm256_storeu_ps(sums + m * sums_stride + kLanes, tile.v[m][1]);
  }
}

}  // namespace fathom::kernels::avx2
