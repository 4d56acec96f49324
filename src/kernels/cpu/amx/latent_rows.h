// Rows of the latent cache, and queries, as operands of tiles.
//
// A step of a tile product takes 32 elements. The latent and the rotated key are each padded with zeros to
// whole steps; int8 latents become bf16 exactly, without their row's scale.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/amx/vector.h"
#include "kernels/params.h"

namespace fathom::kernels::FATHOM_AMX_NAMESPACE {

inline constexpr int64_t kStepElements = 32;

static inline int64_t num_steps(int64_t elements) { return (elements + kStepElements - 1) / kStepElements; }

enum class LatentType : uint8_t { kBFloat16, kInt8 };

// Elements [i, i + 32) of a row's latent in bf16, those outside the mask zero.
template <LatentType kType>
static inline __m512i load_latent(const uint8_t* row, int64_t i, __mmask32 inside) {
  if constexpr (kType == LatentType::kBFloat16) return _mm512_maskz_loadu_epi16(inside, row + 2 * i);
  const __m256i bytes = _mm256_maskz_loadu_epi8(inside, row + i);
  return to_bf16(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(bytes))),
                 _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(bytes, 1))));
}

class LatentRows {
 public:
  LatentRows(const LatentCacheView& cache, const int32_t* page_table)
      : latent_steps(num_steps(cache.latent_dim)),
        rope_steps(num_steps(cache.rope_dim)),
        stride((latent_steps + rope_steps) * kTileRowBytes),
        is_int8(cache.dtype == DType::kInt8),
        cache_(cache),
        page_table_(page_table),
        row_bytes_(latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim)),
        in_place_(!is_int8 && row_bytes_ == stride && cache.block_size % kTileRows == 0) {}

  const uint8_t* row(int64_t position) const {
    const int64_t page = page_table_[position / cache_.block_size];
    return static_cast<const uint8_t*>(cache_.data) +
           (page * cache_.block_size + position % cache_.block_size) * row_bytes_;
  }

  // What the row's latent as a tile operand must be multiplied by.
  float scale(const uint8_t* row) const {
    if (!is_int8) return 1.0f;
    float scale;
    memcpy(&scale, row + cache_.latent_dim + 2 * cache_.rope_dim, sizeof(scale));
    return scale;
  }

  // Elements [i, i + 32) of the rotated key in bf16, zeros beyond its end; float16 is rounded.
  __m512i rope(const uint8_t* row, int64_t i) const {
    const int64_t offset = is_int8 ? cache_.latent_dim : 2 * cache_.latent_dim;
    const __m512i bits = _mm512_maskz_loadu_epi16(first_lanes32(cache_.rope_dim - i), row + offset + 2 * i);
    const DType dtype = is_int8 ? cache_.rope_dtype : cache_.dtype;
    if (dtype != DType::kFloat16) return bits;
    return to_bf16(_mm512_cvtph_ps(_mm512_castsi512_si256(bits)),
                   _mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1)));
  }

  // A left-hand operand of 16 keys, rows of `stride` bytes: the cache's own rows where 16 keys lie in one
  // page and are whole steps, else a copy in buffer [16 * stride]. rows holds the keys' rows, from a position
  // that is a multiple of 16; beyond the first count of them are zeros.
  const uint8_t* tile(const uint8_t* const* rows, int64_t count, uint8_t* buffer) const {
    if (in_place_ && count >= kTileRows) return rows[0];
    for (int64_t m = 0; m < kTileRows; ++m) {
      uint8_t* out = buffer + m * stride;
      if (m >= count) {
        memset(out, 0, static_cast<size_t>(stride));
        continue;
      }
      if (is_int8) {
        copy_latent<LatentType::kInt8>(rows[m], out);
      } else {
        copy_latent<LatentType::kBFloat16>(rows[m], out);
      }
      for (int64_t s = 0; s < rope_steps; ++s) {
        _mm512_store_si512(out + (latent_steps + s) * kTileRowBytes, rope(rows[m], s * kStepElements));
      }
    }
    return buffer;
  }

  const int64_t latent_steps;
  const int64_t rope_steps;
  const int64_t stride;  // bytes
  const bool is_int8;

 private:
  template <LatentType kType>
  void copy_latent(const uint8_t* row, uint8_t* out) const {
    const int64_t whole = cache_.latent_dim / kStepElements;
    for (int64_t s = 0; s < whole; ++s) {
      _mm512_store_si512(out + s * kTileRowBytes, load_latent<kType>(row, s * kStepElements, ~__mmask32{0}));
    }
    if (whole == latent_steps) return;
    const __mmask32 inside = first_lanes32(cache_.latent_dim - whole * kStepElements);
    _mm512_store_si512(out + whole * kTileRowBytes, load_latent<kType>(row, whole * kStepElements, inside));
  }

  const LatentCacheView& cache_;
  const int32_t* page_table_;
  const int64_t row_bytes_;
  const bool in_place_;
};

// Tiles of right-hand operands, one a step, from 16 queries of first + second elements, each part padded to
// whole steps: line k holds elements 2 k and 2 k + 1 of query j in lane j. A null query is all zeros.
static inline void pack_queries(const float* const (&queries)[16], int64_t first, int64_t second,
                                uint8_t* tiles) {
  const int64_t first_steps = num_steps(first), steps = first_steps + num_steps(second);
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t part = s < first_steps ? 0 : first;
    const int64_t i = (s < first_steps ? s : s - first_steps) * kStepElements;
    const int64_t left = (s < first_steps ? first : second) - i;
    const __mmask16 low = first_lanes(left), high = first_lanes(left - 16);
    __m512i lines[16];
    for (int j = 0; j < 16; ++j) {
      const float* q = queries[j];
      lines[j] = q == nullptr ? _mm512_setzero_si512()
                              : to_bf16(_mm512_maskz_loadu_ps(low, q + part + i),
                                        _mm512_maskz_loadu_ps(high, q + part + i + 16));
    }
    transpose(lines);
    for (int j = 0; j < 16; ++j) {
      _mm512_store_si512(tiles + s * kTileBytes + j * kTileRowBytes, lines[j]);
    }
  }
}

// Tiles 0 to 3 += 64 keys (four tiles of rows, stride bytes apart) times queries, over `steps` steps;
// each_step runs after a step's products. 5 tile loads (40 cycles) for 4 products (64 cycles).
template <typename EachStep>
static inline void multiply_keys(const uint8_t* const (&keys)[4], int64_t stride, const uint8_t* queries,
                                 int64_t steps, const EachStep& each_step) {
  for (int64_t s = 0; s < steps; ++s) {
    load<6>(queries + s * kTileBytes, kTileRowBytes);
    load<4>(keys[0] + s * kTileRowBytes, stride);
    dot_bf16<0, 4, 6>();
    load<5>(keys[1] + s * kTileRowBytes, stride);
    dot_bf16<1, 5, 6>();
    load<4>(keys[2] + s * kTileRowBytes, stride);
    dot_bf16<2, 4, 6>();
    load<5>(keys[3] + s * kTileRowBytes, stride);
    dot_bf16<3, 5, 6>();
    each_step(s);
  }
}

static inline void zero_sums() {
  zero<0>();
  zero<1>();
  zero<2>();
  zero<3>();
}

static inline void load_sums(const void* sums) {
  const auto* bytes = static_cast<const uint8_t*>(sums);
  load<0>(bytes, kTileRowBytes);
  load<1>(bytes + kTileBytes, kTileRowBytes);
  load<2>(bytes + 2 * kTileBytes, kTileRowBytes);
  load<3>(bytes + 3 * kTileBytes, kTileRowBytes);
}

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE
