// How linear_hopper.cu cuts a linear into blocks: pure functions of its sizes. Plain data header.
//
// Every tile gives the same bits, so that the number of rows may choose it.
#pragma once

#include "kernels/cuda/linear_plan.h"

namespace fathom::kernels::cuda {

// Which instructions multiply 16-bit floats on a device: their sums may differ in the last bits, so all cuts
// of a device use the same ones.
enum class ProductFamily : uint8_t { kMmaSync, kWgmma };
// compute_capability: 90 is 9.0, the only one that has wgmma (sm_90a).
static inline ProductFamily product_family(int compute_capability) {
  return compute_capability == 90 ? ProductFamily::kWgmma : ProductFamily::kMmaSync;
}

// Rows of int8 that are left to linear.cu, whose integer sums are the same.
inline constexpr int64_t kMaxMmaSyncRows = kMaxStreamProducts * kProductRows;

// A block's part of a linear: warpgroups * span panels of 16 outputs by `rows` rows of inputs.
//
// A warpgroup's four warps hold 16 rows of a product's left operand each. With span 4 they are four panels.
// With fewer, 4 / span warps hold the same panel at 4 / span different chunks of the inputs, and the right
// operand has the rows once for each of these chunks; a warp's sums with another warp's chunk are not used.
// That costs tensor-core time where the panels' bytes are the bound, and gives few rows four times as many
// blocks.
struct HopperTile {
  int warpgroups = 0;
  int span = 0;
  int rows = 0;

  constexpr bool operator==(const HopperTile&) const = default;
  constexpr int panels() const { return warpgroups * span; }
  constexpr int threads() const { return warpgroups * 128; }
  // Chunks that are multiplied at a time, and rows of the right operand.
  constexpr int slots() const { return 4 / span; }
  constexpr int columns() const { return slots() * rows; }
};

// A stage: 4 steps, 2 KiB of panels for each warp, 128 bytes of inputs for each column.
static constexpr size_t stage_bytes(HopperTile tile) {
  return static_cast<size_t>(tile.warpgroups * 4 * 2048 + tile.columns() * 128);
}
// Stages in shared memory: all of it for the largest tiles, of which a multiprocessor holds one, else a
// third, so that it holds three.
static constexpr int num_stages(HopperTile tile) {
  const size_t room = static_cast<size_t>(tile.warpgroups == 2 ? 208 : 72) << 10;
  return static_cast<int>(room / stage_bytes(tile));
}

// The tiles there are. Registers bound the large ones: 16-bit floats have two sums for each output, the
// current chunk's and the total's, int8 one.
inline constexpr HopperTile kStream8 = {1, 1, 8};
inline constexpr HopperTile kStream16 = {1, 1, 16};
inline constexpr HopperTile kPairStream8 = {1, 2, 8};
inline constexpr HopperTile kPairStream16 = {1, 2, 16};
inline constexpr HopperTile kStream32 = {1, 2, 32};
inline constexpr HopperTile kTile64 = {1, 4, 64};
inline constexpr HopperTile kTile128 = {2, 4, 128};
inline constexpr HopperTile kFloatTile192 = {2, 4, 192};
inline constexpr HopperTile kInt8Tile256 = {2, 4, 256};
inline constexpr HopperTile kFloatTiles[] = {kStream8,  kStream16, kPairStream8, kPairStream16,
                                             kStream32, kTile64,   kTile128,     kFloatTile192};
inline constexpr HopperTile kInt8Tiles[] = {kTile64, kTile128, kInt8Tile256};

// An estimate of the cycles that a step of all inputs takes: for each multiprocessor's blocks the tensor
// cores' (a product with n columns takes n / 2) or the copies' into shared memory, whichever are more.
static constexpr int64_t hopper_cycles(HopperTile tile, const LinearSizes& sizes) {
  constexpr int64_t kMultiprocessors = 132;  // of H100 and H200 (SXM)
  constexpr int64_t kCopiedBytes = 40;       // a cycle; an estimate, not measured
  const int64_t row_blocks = (sizes.max_rows + tile.rows - 1) / tile.rows;
  const int64_t panel_blocks = (sizes.num_panels + tile.panels() - 1) / tile.panels();
  const int64_t rounds =
      (sizes.num_items * row_blocks * panel_blocks + kMultiprocessors - 1) / kMultiprocessors;
  const int64_t products = int64_t{kStageSteps} * tile.warpgroups * tile.columns() / 2;
  const int64_t copies = static_cast<int64_t>(stage_bytes(tile)) / kCopiedBytes;
  return rounds * (products > copies ? products : copies) * tile.span / 4;
}

// The tile with the least of them, the first of equals.
static constexpr HopperTile plan_hopper(const LinearSizes& sizes) {
  HopperTile best;
  int64_t least = 0;
  const auto consider = [&](HopperTile tile) {
    if (sizes.panels_per_output == 2 && tile.span == 1) return;
    const int64_t cycles = hopper_cycles(tile, sizes);
    if (best.rows != 0 && cycles >= least) return;
    best = tile;
    least = cycles;
  };
  if (sizes.exact_sums) {
    for (HopperTile tile : kInt8Tiles) consider(tile);
  } else {
    for (HopperTile tile : kFloatTiles) consider(tile);
  }
  return best;
}

}  // namespace fathom::kernels::cuda
