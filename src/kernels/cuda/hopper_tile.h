// A block of linear_hopper.cu: its shape, what it keeps in shared memory and how inputs and panels get there.
// Included by linear_hopper.cu only.
#pragma once

#include "kernels/cuda/hopper_grid.h"
#include "kernels/cuda/hopper_plan.h"
#include "kernels/cuda/linear_work.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {

using cuda::HopperTile;
using cuda::kChunkStages;
using cuda::kStageSteps;
using cuda::kStepWords;

inline constexpr int kPanelWidth = static_cast<int>(kPanelRows);
inline constexpr int kPieceWords = 4;  // of 16 bytes, which one copy takes
inline constexpr int kStageLines = kStageSteps * kStepWords;
// A box holds a warp's panel in a stage: kStageLines lines of 16 words.
inline constexpr int kBoxWords = kStageLines * kLineWords;
static_assert(kStageLines == kSwizzleRowWords);

// What a tile's kernel is made of.
template <HopperTile kChosen>
struct TileShape {
  static constexpr HopperTile kTile = kChosen;
  static constexpr int kThreads = kTile.threads();
  static constexpr int kWarps = kTile.warpgroups * kWarpgroupWarps;
  static constexpr int kSpan = kTile.span;
  static constexpr int kPanels = kTile.panels();
  static constexpr int kSlots = kTile.slots();
  static constexpr int kRows = kTile.rows;
  static constexpr int kColumns = kTile.columns();
  static constexpr int kStages = cuda::num_stages(kTile);
  // Stages that are copied ahead: while one is multiplied, the one before may still be read.
  static constexpr int kAhead = kStages - 2;
  // Registers of sums: of a product, and of the rows.
  static constexpr int kProductSums = kColumns / 2;
  static constexpr int kRowSums = kRows / 2;
  static constexpr int kBoxes = kStages * kColumns * kSwizzleRowWords;  // where boxes begin
  static constexpr int kStageWords = kBoxes + kStages * kWarps * kBoxWords;
  // From row to row of sums: the warp's eight outputs of four rows lie in 32 banks.
  static constexpr int kSumStride = kPanels * kPanelWidth + 4;
  static_assert(kRows * kSumStride <= kStageWords);
  // Sums that warps pass on, where several have the same panel.
  static constexpr int kPartialSums = kSlots > 1 ? kThreads* kRowSums : 0;
  static_assert(kAhead >= 2);
};

// Where a token's outputs go.
struct TokenPlace {
  int64_t y;  // element; -1: nowhere
  float x_scale;
  float y_weight;
};

template <typename Shape, typename Sum>
struct TileRooms {
  // Two parts of each stage, [kStages] of one after [kStages] of the other, and later the sums:
  //   [kColumns, kSwizzleRowWords]         rows of inputs, swizzled
  //   [kWarps, kStageLines, kLineWords]    a box of a panel's lines for each warp, see box_word
  SharedArray<uint32_t> stages;
  SharedArray<TokenPlace> places;  // [kRows]
  SharedArray<uint32_t> sources;   // [kRows] where its row of x begins, in pieces
  SharedArray<Sum> partials;       // [kWarps, kRowSums, kWarpLanes]; where kSlots > 1
};
template <typename Shape>
constexpr size_t shared_bytes() {
  return Shape::kStageWords * 4 + Shape::kRows * (sizeof(TokenPlace) + 4) + Shape::kPartialSums * 4;
}

// A block's part.
struct TileBlock {
  Work work;
  const uint32_t* panels;  // its first
  int num_panels;
  int64_t first_panel;
  int64_t first_row;  // of the work's rows of inputs
  int num_chunks;
  int num_rounds;  // a stage of every slot each
};

// The stage of the inputs that slot takes in a round: kSlots chunks side by side, then the next.
template <typename Shape>
FATHOM_DEVICE int stage_of_round(int round, int slot) {
  return (round / kChunkStages * Shape::kSlots + slot) * kChunkStages + round % kChunkStages;
}
// Of the last chunks only slot 0's stages must be taken: the others' are no more.
template <typename Shape>
FATHOM_DEVICE int rounds_of_stages(int num_stages) {
  constexpr int kSideBySide = Shape::kSlots * kChunkStages;
  const int last = num_stages % kSideBySide;
  return num_stages / kSideBySide * kChunkStages + (last < kChunkStages ? last : kChunkStages);
}

// Which of the block's panels a warp's box holds.
template <typename Shape>
FATHOM_DEVICE int panel_of_box(int box) {
  return box / kWarpgroupWarps * Shape::kSpan + box % kWarpgroupWarps % Shape::kSpan;
}
// A word of a box: lines 2, 3, 6, 7, .. have their halves exchanged, so that the four lines and eight outputs
// that a warp reads at a time lie in 32 banks.
FATHOM_DEVICE int box_word(int line, int word) { return line * kLineWords + (word ^ ((line & 2) << 2)); }

template <typename Shape, typename Sum>
FATHOM_DEVICE void describe_tokens(const Launched& launched, const TileBlock& block,
                                   const TileRooms<Shape, Sum>& rooms) {
  const LinearParams& p = launched.batch.linear;
  const int64_t num_rows = block.work.num_tokens * launched.rows_per_token;
  for (int i = thread_index(); i < Shape::kRows; i += Shape::kThreads) {
    const int64_t row = block.first_row + i < num_rows ? block.first_row + i : block.first_row;
    const int64_t x_token =
        input_token(launched.batch, launch_token(block.work, row / launched.rows_per_token));
    const int64_t x_row = x_token * launched.rows_per_token + row % launched.rows_per_token;
    rooms.sources[i] = static_cast<uint32_t>(x_row * launched.row_words / kPieceWords);
    TokenPlace place{-1, 1.0f, 1.0f};
    const int64_t token = block.first_row / launched.rows_per_token + i;
    if (token < block.work.num_tokens) {
      const int64_t t = launch_token(block.work, token);
      place.y = (p.y_rows != nullptr ? p.y_rows[t] : t) * p.y_stride;
      if (launched.has_x_scales) place.x_scale = p.x_scales[input_token(launched.batch, t)];
      if (p.output == LinearParams::Output::kAddWeighted) place.y_weight = p.y_weights[t];
    }
    rooms.places[i] = place;
  }
}

// Begins copying a round's stages; inputs beyond the last become 0. Panels and rows beyond the last are some
// others again: their sums are not written. A thread copies the same piece of several boxes, then of several
// columns.
template <typename Shape, typename Sum>
FATHOM_DEVICE void copy_round(const Launched& launched, const TileBlock& block,
                              const TileRooms<Shape, Sum>& rooms, int round) {
  constexpr int kBoxPieces = kBoxWords / kPieceWords;
  constexpr int kRowPieces = kSwizzleRowWords / kPieceWords;
  constexpr int kBoxStep = Shape::kThreads / kBoxPieces;
  constexpr int kColumnStep = Shape::kThreads / kRowPieces;
  static_assert(kColumnStep % kSwizzleRows == 0);
  if (round < block.num_rounds) {
    const int ring = round % Shape::kStages;
    const auto panel_words = static_cast<int>(launched.panel_words);
    const int first_box = thread_index() / kBoxPieces, in_box = thread_index() % kBoxPieces * kPieceWords;
    const int to_box = Shape::kBoxes + (ring * Shape::kWarps + first_box) * kBoxWords +
                       box_word(in_box / kLineWords, in_box % kLineWords);
    FATHOM_UNROLL
    for (int i = 0; i < Shape::kWarps / kBoxStep; ++i) {
      const int slot = (first_box + i * kBoxStep) % kWarpgroupWarps / Shape::kSpan;
      const int panel = panel_of_box<Shape>(first_box + i * kBoxStep);
      const int word = stage_of_round<Shape>(round, slot) * kBoxWords + in_box;
      const bool inside = word < panel_words;
      copy_async_16(rooms.stages, to_box + i * kBoxStep * kBoxWords,
                    block.panels + (panel < block.num_panels ? panel : 0) * panel_words + (inside ? word : 0),
                    inside ? 16 : 0);
    }
    const auto* x = static_cast<const uint32_t*>(launched.batch.linear.x);
    const auto row_words = static_cast<int>(launched.input_words);
    const int first_column = thread_index() / kRowPieces, piece = thread_index() % kRowPieces;
    const int to_column =
        (ring * Shape::kColumns + first_column) * kSwizzleRowWords + swizzled_word(first_column, piece);
    FATHOM_UNROLL
    for (int i = 0; i < Shape::kColumns / kColumnStep; ++i) {
      const int column = first_column + i * kColumnStep;
      const int slot = Shape::kSlots == 1 ? 0 : column / Shape::kRows;
      const int word = stage_of_round<Shape>(round, slot) * kSwizzleRowWords + piece * kPieceWords;
      const bool inside = word < row_words;
      copy_async_16(
          rooms.stages, to_column + i * kColumnStep * kSwizzleRowWords,
          x + (inside ? word : 0) + int64_t{rooms.sources[column - slot * Shape::kRows]} * kPieceWords,
          inside ? 16 : 0);
    }
  }
  commit_copies();
}

// Which outputs a lane's two rows of the left operand are: of its warp's panel, outputs lane / 4 and 8 more;
// paired, of gate and of up, where the first of two warps takes eight outputs and the second the other eight.
struct LaneRows {
  int box[2];     // of the stage
  int output[2];  // of the box's panel
};
FATHOM_DEVICE LaneRows rows_of_lane(bool is_paired) {
  const int box = warp_index(), output = lane_index() / 4;
  if (!is_paired) return {{box, box}, {output, output + 8}};
  const int half = output + box % 2 * 8;
  return {{box / 2 * 2, box / 2 * 2 + 1}, {half, half}};
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
