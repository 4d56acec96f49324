// How absorbed attention on tensor cores cuts its work: which caches it takes, where a key's row lies in
// shared memory, and how many lines (pairs of a row and a head) a block has. Pure functions; none of them
// changes a result's bits.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::cuda {

// Keys that are staged and multiplied together.
inline constexpr int kTileKeys = 32;
// Warps that share a product: each takes a quarter of a row for the scores and a quarter of the outputs.
inline constexpr int kAbsorbedSlices = 4;
inline constexpr int64_t kMaxAbsorbedLatent = 512;
inline constexpr int64_t kMaxAbsorbedRope = 64;
inline constexpr int kChunkBytes = 16;
// A slice takes every kAbsorbedSlices-th pair of chunks, so many at a time without a branch.
inline constexpr int kSectionPairs = 2;

// A key's row in shared memory: chunks of 16 bytes, latent then rotated part, in pairs, which are what lanes'
// words make of mma.sync's right operand. Chunk c of key s lies at chunk c ^ (s % 8) of the row, so that the
// same chunk of 8 keys is in different banks; a slice's pairs are 8 chunks apart, which leaves their order.
struct AbsorbedLayout {
  int latent_pairs = 0;  // with padding, a multiple of whole sections of all slices
  int rope_pairs = 0;
  int row_stride = 0;  // bytes; a multiple of 8 chunks
};

static inline AbsorbedLayout absorbed_layout(const LatentCacheView& cache) {
  constexpr int64_t kPairBytes = 2 * kChunkBytes;
  constexpr int64_t kSectionBytes = kAbsorbedSlices * kSectionPairs * kPairBytes;
  const int64_t latent_bytes =
      round_up(cache.latent_dim * (cache.dtype == DType::kInt8 ? 1 : 2), kSectionBytes);
  const int64_t rope_bytes = round_up(cache.rope_dim * 2, kPairBytes);
  return {.latent_pairs = static_cast<int>(latent_bytes / kPairBytes),
          .rope_pairs = static_cast<int>(rope_bytes / kPairBytes),
          .row_stride = static_cast<int>(round_up(latent_bytes + rope_bytes, 8 * kChunkBytes))};
}

// Rows are copied in units of 16 bytes, of int8 caches 4. Queries take the cache's 16-bit type.
static inline bool takes_tensor_cores(const LatentCacheView& cache, AttentionPrecision precision) {
  if (cache.latent_dim > kMaxAbsorbedLatent || cache.rope_dim > kMaxAbsorbedRope) return false;
  const DType wanted = precision == AttentionPrecision::kBFloat16 ? DType::kBFloat16 : DType::kFloat16;
  if (precision == AttentionPrecision::kFloat32 || cache.rope_dtype != wanted) return false;
  if (cache.dtype == DType::kInt8) return cache.latent_dim % 4 == 0 && cache.rope_dim % 2 == 0;
  return cache.dtype == wanted && cache.latent_dim % 8 == 0 && cache.rope_dim % 8 == 0;
}

// Lines of a block, of so many that read the same keys: each tile of 16 more shares what is staged.
static inline int lines_per_block(int64_t num_lines) {
  return num_lines <= 16 ? 16 : num_lines <= 32 ? 32 : 64;
}

}  // namespace fathom::kernels::cuda
