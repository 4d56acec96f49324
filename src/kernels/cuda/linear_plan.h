// How a linear is cut into blocks: pure functions of its sizes. Plain data header.
//
// All cuts take float sums over chunks of kChunkSteps steps of the tensor core, in order, and add the chunks
// in order, so that they give the same bits: which one is taken may depend on the number of tokens. Sums of
// integers are exact and may be cut anywhere.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace fathom::kernels::cuda {

// A step of the tensor core: 8 words of 4 bytes of each row, that is 16 inputs of 16 bits or 32 of int8.
inline constexpr int kStepWords = 8;
inline constexpr int kChunkSteps = 32;
// Steps that are copied to shared memory together. 32 int8 inputs are a step, so that it is also what a
// superblock of int4 holds.
inline constexpr int kStageSteps = 4;
inline constexpr int kChunkStages = kChunkSteps / kStageSteps;
inline constexpr int kRowStageBytes = kStageSteps * kStepWords * 4;
// Rows of inputs that one product takes: the columns of its result.
inline constexpr int kProductRows = 8;
// Bytes of one product's partial sums: 16 outputs by 8 rows.
inline constexpr int kProductBytes = 16 * kProductRows * 4;

// kStream  up to 16 rows: warps read panels, each a part of one's inputs, through rings of their own
// kTile    a block a tile of panels and rows, in stages that its warps share
enum class LinearCut : uint8_t { kStream, kTile };

inline constexpr int kStreamWarps = 8;
inline constexpr int kMaxStreamProducts = 2;
// Stages of a warp's ring: with one product and 8 warps two blocks of 96 KiB at worst fit an SM, which have
// 12 KiB in flight for each of its 16 warps; 25 KiB an SM are what 4.8 TB/s take at a latency of 0.7 us.
static inline constexpr int stream_stages(int products) { return products == 1 ? 4 : 3; }

// How blocks of the streaming cut work: splits warps for each of 2^panel_bits panels, each with every
// splits-th unit of its panel.
struct StreamPlan {
  int products = 0;  // 1 or 2: up to 8 or 16 rows a block
  int rows = 0;      // of them that are staged
  int splits = 0;
  int panel_bits = 0;
  int unit_stages = 0;
  int num_units = 0;
  size_t shared_bytes = 0;
};

// Panels by rows of a block of the tile cut: 4 x 32, 4 x 64 or 8 x 128.
enum class TileSize : uint8_t { kSmall, kMedium, kLarge };

struct LinearPlan {
  LinearCut cut = LinearCut::kTile;
  StreamPlan stream = {};
  TileSize tile = TileSize::kSmall;
};

struct LinearSizes {
  int64_t max_rows = 0;   // of inputs that share a weight
  int64_t num_items = 0;  // groups of such rows
  int64_t num_panels = 0;
  int64_t num_steps = 0;
  int panels_per_output = 1;  // 2 for gate and up
  int panel_stage_bytes = 0;
  bool exact_sums = false;
};

// What keeps a GPU of 132 SMs busy: warps of the streaming cut, and blocks of either.
inline constexpr int64_t kBusyWarps = 2048;
inline constexpr int64_t kBusyBlocks = 256;
inline constexpr int64_t kWaveBlocks = 128;

// One plan for blocks of at most max_warps.
static inline StreamPlan plan_stream(const LinearSizes& sizes, int max_warps) {
  StreamPlan plan;
  plan.products = static_cast<int>((sizes.max_rows + kProductRows - 1) / kProductRows);
  plan.rows = static_cast<int>(sizes.max_rows);
  const auto stages = static_cast<int>((sizes.num_steps + kStageSteps - 1) / kStageSteps);
  int max_splits = max_warps / sizes.panels_per_output;
  plan.unit_stages = kChunkStages;
  if (sizes.exact_sums) {
    // As few splits as keep all SMs busy, of two stages at least.
    int splits = 1;
    while (2 * splits <= max_splits && 4 * splits <= stages &&
           sizes.num_panels * sizes.num_items * splits < kBusyWarps)
      splits *= 2;
    max_splits = splits;
    plan.unit_stages = (stages + splits - 1) / splits;
  }
  plan.num_units = (stages + plan.unit_stages - 1) / plan.unit_stages;
  const int rounds = (plan.num_units + max_splits - 1) / max_splits;
  plan.splits = (plan.num_units + rounds - 1) / rounds;
  int panels = sizes.panels_per_output;
  while (2 * panels * plan.splits <= max_warps &&
         (sizes.num_panels + 2 * panels - 1) / (2 * panels) * sizes.num_items >= kBusyBlocks)
    panels *= 2;
  while (1 << plan.panel_bits < panels) ++plan.panel_bits;
  const int ring = stream_stages(plan.products) * (sizes.panel_stage_bytes + plan.rows * kRowStageBytes);
  plan.shared_bytes = static_cast<size_t>(plan.splits * panels) * static_cast<size_t>(ring) +
                      static_cast<size_t>(plan.num_units * panels * plan.products) * kProductBytes;
  return plan;
}

static inline TileSize plan_tile(const LinearSizes& sizes) {
  if (sizes.max_rows <= 32) return TileSize::kSmall;
  const int64_t large_blocks = (sizes.max_rows + 127) / 128 * ((sizes.num_panels + 7) / 8) * sizes.num_items;
  return sizes.max_rows > 64 && large_blocks >= kWaveBlocks ? TileSize::kLarge : TileSize::kMedium;
}

static inline LinearPlan plan_linear(const LinearSizes& sizes, size_t shared_limit) {
  if (sizes.max_rows <= kMaxStreamProducts * kProductRows) {
    for (int warps = kStreamWarps; warps >= sizes.panels_per_output; --warps) {
      const StreamPlan stream = plan_stream(sizes, warps);
      if (stream.shared_bytes <= shared_limit) return {.cut = LinearCut::kStream, .stream = stream};
    }
  }
  return {.cut = LinearCut::kTile, .tile = plan_tile(sizes)};
}

// Tokens of a tile where each of num_experts has num_pairs / num_experts on average: most experts have no
// more than twice as many, and those that do get several tiles.
static inline int64_t expert_tile_tokens(int64_t num_pairs, int64_t num_experts) {
  int64_t tokens = 8;
  while (tokens < 128 && tokens * num_experts < 2 * num_pairs) tokens *= 2;
  return tokens;
}

// Tiles of up to tile_tokens tokens that num_pairs pairs can fill, whoever their experts are: every expert
// that has any leaves one tile, with one token at least, unfilled.
static inline int64_t max_expert_tiles(int64_t num_pairs, int64_t num_experts, int64_t tile_tokens) {
  const int64_t chosen = num_pairs < num_experts ? num_pairs : num_experts;
  return (num_pairs + chosen * (tile_tokens - 1)) / tile_tokens;
}

}  // namespace fathom::kernels::cuda
