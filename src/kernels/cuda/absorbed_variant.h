// What the variants of absorbed attention differ in: the numbers they multiply, their cut into warps, and
// what a block has of shared memory. Included by absorbed.cu only.
#pragma once

#include "kernels/cuda/absorbed_plan.h"
#include "kernels/cuda/numbers.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

using cuda::kTileKeys;

constexpr int kSlices = cuda::kAbsorbedSlices;
constexpr int kStages = 2;
constexpr int kSliceDims = static_cast<int>(cuda::kMaxAbsorbedLatent) / kSlices;
constexpr int kOutputTiles = kSliceDims / 8;  // mma.sync has 8 columns

struct BFloat16 {
  static constexpr bool kNeedsScale = false;
  static FATHOM_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_bf16(c, a, b);
  }
  static FATHOM_DEVICE uint32_t rounded(float low, float high) {
    return float_to_bf16(low) | static_cast<uint32_t>(float_to_bf16(high)) << 16;
  }
  // Two bytes of a word as 16-bit numbers. 128 + the low seven bits is exact, and so is the sign's 128 or
  // 256.
  template <int kLow, int kHigh>
  static FATHOM_DEVICE uint32_t from_bytes(uint32_t word) {
    const uint32_t spread = permute_bytes<4 << 12 | kHigh << 8 | 4 << 4 | kLow>(word, 0);
    return subtract_bf16_pairs((spread & 0x007f007fu) | 0x43004300u, (spread & 0x00800080u) | 0x43004300u);
  }
};
// Queries are brought to [2^14, 2^15) by a power of two a head: they keep 11 bits whatever their size.
struct Float16 {
  static constexpr bool kNeedsScale = true;
  static FATHOM_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_fp16(c, a, b);
  }
  static FATHOM_DEVICE uint32_t rounded(float low, float high) {
    return float_to_half(low) | static_cast<uint32_t>(float_to_half(high)) << 16;
  }
  // 1024 + 128 + the number, then without both.
  template <int kLow, int kHigh>
  static FATHOM_DEVICE uint32_t from_bytes(uint32_t word) {
    const uint32_t biased = permute_bytes<4 << 12 | kHigh << 8 | 4 << 4 | kLow>(word ^ 0x80808080u, 0x64u);
    return subtract_fp16_pairs(biased, 0x64806480u);
  }
};

// A variant. Query: what scores are multiplied in; Weight: weights and values.
template <typename Query_, typename Weight_, bool kIsInt8_, int kTiles_, int kGroups_>
struct Variant {
  using Query = Query_;
  using Weight = Weight_;
  static constexpr bool kIsInt8 = kIsInt8_;
  static constexpr int kTiles = kTiles_;    // of 16 heads, of a warp
  static constexpr int kGroups = kGroups_;  // of warps
  static constexpr int kLines = 16 * kTiles * kGroups;
  static constexpr int kThreads = kWarpLanes * kSlices * kGroups;
};

// What a lane holds of a tile of 16 rows and 8 columns, and what it gives of a left operand's 8 columns.
struct alignas(16) Quad {
  uint32_t words[4];
};

struct Launched {
  cuda::AbsorbedBatchParams batch;
  cuda::AbsorbedLayout layout;
  int64_t row_bytes;  // of the cache
  int64_t line_blocks;
};

template <typename V>
struct Room {
  SharedArray<unsigned char> keys;  // [kStages, kTileKeys, row_stride]
  SharedArray<Quad> exchange;       // [owner, 3 others, groups, tiles, lanes]
  SharedArray<float> tops;          // [2, lines] running maximum, before and after a tile
  SharedArray<float> tile_tops;     // [slices, lines] of a tile
  SharedArray<float> sums;          // [slices, lines] of the weights so far
  SharedArray<float> query_scales;  // [lines]; fp16
  SharedArray<float> key_scales;    // [kStages, kTileKeys]; int8

  static constexpr int kExchange = kSlices * (kSlices - 1) * V::kGroups * V::kTiles * kWarpLanes;
  static constexpr int kTops = kSlices * V::kLines;
  static constexpr int kQueryScales = V::Query::kNeedsScale ? V::kLines : 0;
  static constexpr int kKeyScales = V::kIsInt8 ? kStages * kTileKeys : 0;
  static size_t bytes(const cuda::AbsorbedLayout& layout) {
    return static_cast<size_t>(kStages * kTileKeys * layout.row_stride) + kExchange * sizeof(Quad) +
           (2 * V::kLines + 2 * kTops + kQueryScales + kKeyScales) * sizeof(float);
  }
  explicit FATHOM_DEVICE Room(SharedMemory shared, const cuda::AbsorbedLayout& layout)
      : keys(shared.take<unsigned char>(kStages * kTileKeys * layout.row_stride)),
        exchange(shared.take<Quad>(kExchange)),
        tops(shared.take<float>(2 * V::kLines)),
        tile_tops(shared.take<float>(kTops)),
        sums(shared.take<float>(kTops)),
        query_scales(shared.take<float>(kQueryScales)),
        key_scales(shared.take<float>(kKeyScales)) {}
};

}  // namespace
}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
