// Stages of panels and of rows of inputs in shared memory, and the operands of mma.sync m16n8 from them, for
// the cuts that use it.
//
// A line of a panel (kernels/packed.h) holds, for 16 outputs, one word each of consecutive inputs: just what
// a lane of mma.sync holds of its left operand. So panels are the left operand as they lie in memory (outputs
// are its 16 rows), and rows of inputs the right one (8 columns).
#pragma once

#include <type_traits>

#include "kernels/cuda/linear_work.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {

using cuda::kProductRows;
using cuda::kStageSteps;

// Panels of 16-bit and int8 weights: a stage is 32 lines. Places of 16 bytes: of every four lines the last
// two have their halves exchanged, so that the four lines of 8 outputs that the lanes read at once lie in
// different banks.
struct LinePanels {
  static constexpr int kStageWords = kStageSteps * cuda::kStepWords * kLineWords;
  static FATHOM_DEVICE int place(int piece) { return piece ^ (piece >> 2 & 2); }
  // The left operand of a step of the stage at room[at].
  static FATHOM_DEVICE void load(uint32_t (&a)[4], const SharedArray<uint32_t>& room, int at, int step) {
    const int word = lane_index() % 4;
    const int output = lane_index() / 4;
    const int first = at + (step * cuda::kStepWords + word) * kLineWords + (output ^ (word & 2) << 2);
    a[0] = room[first];
    a[1] = room[first ^ 8];
    a[2] = room[first + 4 * kLineWords];
    a[3] = room[(first ^ 8) + 4 * kLineWords];
  }
};

// Four of factor * (nibble - 8), from the low nibbles of a word's bytes. The sum of each byte lies in [8,
// 233], 128 more than the product, so that nothing is carried from byte to byte.
FATHOM_DEVICE uint32_t expand_nibbles(uint32_t nibbles, uint32_t factor) {
  return ((nibbles & 0x0f0f0f0fu) * factor + (0x80808080u - 0x08080808u * factor)) ^ 0x80808080u;
}

// Panels of int4 weights: a stage is a superblock, a line of factors and four lines of nibbles a step. They
// become int8 words in registers; 22 instructions a step. Two lanes read the same word, the one its low, the
// other its high nibbles.
struct NibblePanels {
  static constexpr int kStageWords = static_cast<int>(kSuperblockBytes) / 4;
  static_assert(kSuperblockInputs == kStageSteps * kInt4GroupInputs &&
                kInt4GroupInputs == 4 * cuda::kStepWords);
  static FATHOM_DEVICE int place(int piece) { return piece; }
  static FATHOM_DEVICE void load(uint32_t (&a)[4], const SharedArray<uint32_t>& room, int at, int step) {
    const int word = lane_index() % 4;
    const int output = lane_index() / 4;
    const int factor_word = at + step * 4 + output / 4;
    const int first = at + (1 + step * 4 + word / 2) * kLineWords + output;
    const int shift = word % 2 * 4;
    const uint32_t factor = room[factor_word] >> output % 4 * 8 & 0xffu;
    const uint32_t other_factor = room[factor_word + 2] >> output % 4 * 8 & 0xffu;
    a[0] = expand_nibbles(room[first] >> shift, factor);
    a[1] = expand_nibbles(room[first + 8] >> shift, other_factor);
    a[2] = expand_nibbles(room[first + 2 * kLineWords] >> shift, factor);
    a[3] = expand_nibbles(room[first + 2 * kLineWords + 8] >> shift, other_factor);
  }
};

// What a kernel is made for.
template <typename TheProducts, typename ThePanels>
struct LinearFormat {
  using Products = TheProducts;
  using Panels = ThePanels;
  using Sum = typename Products::Sum;
  static constexpr bool kExactSums = std::is_integral_v<Sum>;
};
using BFloat16Format = LinearFormat<BFloat16Products, LinePanels>;
using Float16Format = LinearFormat<Float16Products, LinePanels>;
using Int8Format = LinearFormat<Int8Products, LinePanels>;
using Int4Format = LinearFormat<Int8Products, NibblePanels>;

// Calls function(format) for the format of a launch on tensor cores.
template <typename Function>
int with_format(const cuda::LinearBatchParams& batch, const Function& function) {
  if (batch.linear.format == PanelFormat::kInt4) return function(Int4Format{});
  if (batch.linear.format == PanelFormat::kInt8) return function(Int8Format{});
  return batch.float16_inputs ? function(Float16Format{}) : function(BFloat16Format{});
}

// Begins copying 16 bytes of a panel's stage to the stage at room[at]; what lies beyond the panel, and all of
// a null panel, becomes 0.
template <typename Panels>
FATHOM_DEVICE void copy_panel_piece(const Launched& launched, const SharedArray<uint32_t>& room, int at,
                                    const uint32_t* panel, int stage, int piece) {
  const int64_t word = static_cast<int64_t>(stage) * Panels::kStageWords + piece * 4;
  const bool inside = panel != nullptr && word < launched.panel_words;
  const void* from = inside ? panel + word : launched.batch.linear.x;
  copy_async_16(room, at + Panels::place(piece) * 4, from, inside ? 16 : 0);
}

// Rows of inputs in a stage: 128 bytes a row, the 16-byte pieces of each of 8 rows in another order, so that
// those that one matrix of ldmatrix takes lie in different banks.
constexpr int kRowStageWords = cuda::kRowStageBytes / 4;
constexpr int kRowPieces = kRowStageWords / 4;

FATHOM_DEVICE int row_word(int row, int piece) { return row * kRowStageWords + (piece ^ row % 8) * 4; }

// What each of kThreads threads copies of a stage's kRows rows: one piece of every kThreads / kRowPieces-th
// row.
template <int kThreads, int kRows>
struct RowCopies {
  static constexpr int kStep = kThreads / kRowPieces;
  static constexpr int kCount = (kRows + kStep - 1) / kStep;
  const uint32_t* from[kCount];  // null: no such row

  FATHOM_DEVICE RowCopies(const Launched& launched, const Work& work, int64_t first_row, int64_t num_rows,
                          int thread) {
    FATHOM_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const int row = thread / kRowPieces + i * kStep;
      from[i] =
          row < num_rows ? input_row(launched, work, first_row + row) + thread % kRowPieces * 4 : nullptr;
    }
  }
  // Begins copying rows [0, staged) of a stage to room[at]; those that are not there become 0.
  FATHOM_DEVICE void copy(const Launched& launched, const SharedArray<uint32_t>& room, int at, int stage,
                          int staged, int thread) const {
    const int word = stage * kRowStageWords;
    const bool has_inputs = word + thread % kRowPieces * 4 < launched.input_words;
    FATHOM_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const int row = thread / kRowPieces + i * kStep;
      const bool inside = has_inputs && from[i] != nullptr;
      const void* piece = inside ? from[i] + word : launched.batch.linear.x;
      if (row < staged) copy_async_16(room, at + row_word(row, thread % kRowPieces), piece, inside ? 16 : 0);
    }
  }
};

// The row of 16 whose address a lane gives to load_rows.
FATHOM_DEVICE int address_row() { return lane_index() / 16 * 8 + lane_index() % 8; }

// The right operands of two products, b[0] and b[1], b[2] and b[3], of a step of the stage of rows at
// room[at].
FATHOM_DEVICE void load_rows(uint32_t (&b)[4], const SharedArray<uint32_t>& room, int at, int row, int step) {
  load_matrices(b, room, at + row_word(row, 2 * step + lane_index() / 8 % 2));
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
