// How a linear is cut into blocks: a pure function of its sizes. Plain data header.
//
// Both cuts take float sums over chunks of kChunkSteps steps of the tensor core, in order, and add the chunks
// in order, so that they give the same bits: which one is taken may depend on the number of tokens.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace fathom::kernels::cuda {

// A step of the tensor core: 8 words of 4 bytes of each row, that is 16 inputs of 16 bits or 32 of int8.
inline constexpr int kStepWords = 8;
inline constexpr int kChunkSteps = 32;
// Rows of inputs that one product takes: the columns of its result.
inline constexpr int kProductRows = 8;

// kStream  a block a panel (or pair of panels) and few rows, its warps share the chunks: bound by memory
// kTile    a block a tile of kTilePanels panels and kTileRows rows, in stages through shared memory
enum class LinearCut : uint8_t { kStream, kTile };

inline constexpr int kStreamWarps = 8;
inline constexpr int kMaxStreamProducts = 2;
inline constexpr int kTilePanels = 4;
inline constexpr int kTileRows = 64;

struct LinearPlan {
  LinearCut cut = LinearCut::kTile;
  int stream_products = 0;  // 1 or 2: up to 8 or 16 rows a block
  size_t stream_shared_bytes = 0;
};

// Partial sums of a streaming block: a chunk's 16 outputs by 8 rows, 4 bytes each, by panel and product.
static inline size_t stream_bytes(int64_t num_steps, int panels, int products) {
  const int64_t chunks = (num_steps + kChunkSteps - 1) / kChunkSteps;
  return static_cast<size_t>(chunks * panels * products) * 16 * kProductRows * 4;
}

// max_rows: of inputs that share a weight. panels: 2 for gate and up, else 1.
static inline LinearPlan plan_linear(int64_t max_rows, int64_t num_steps, int panels, size_t shared_limit) {
  const int products = static_cast<int>((max_rows + kProductRows - 1) / kProductRows);
  if (products < 1 || products > kMaxStreamProducts) return {};
  const size_t bytes = stream_bytes(num_steps, panels, products);
  if (bytes > shared_limit) return {};
  return {LinearCut::kStream, products, bytes};
}

// Tokens of a tile where each of num_experts has num_pairs / num_experts on average: most experts have no
// more than twice as many, and those that do get several tiles.
static inline int64_t expert_tile_tokens(int64_t num_pairs, int64_t num_experts) {
  for (int64_t tokens : {8, 16, 32, 64})
    if (2 * num_pairs <= tokens * num_experts) return tokens;
  return 128;
}

// Tiles of up to tile_tokens tokens that num_pairs pairs can fill, whoever their experts are: every expert
// that has any leaves one tile, with one token at least, unfilled.
static inline int64_t max_expert_tiles(int64_t num_pairs, int64_t num_experts, int64_t tile_tokens) {
  const int64_t chosen = num_pairs < num_experts ? num_pairs : num_experts;
  return (num_pairs + chosen * (tile_tokens - 1)) / tile_tokens;
}

}  // namespace fathom::kernels::cuda
