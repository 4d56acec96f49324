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
  static constexpr int kStageRoom = kStageWords;  // words of a stage in shared memory, whole rows of banks
  static FATHOM_DEVICE int place(int piece) { return piece ^ (piece >> 2 & 2); }
  // The left operand of a step of the stage at room[at].
  static FATHOM_DEVICE void load(uint32_t (&a)[4], const SharedArray<uint32_t>& room, int at, int step) {
    const int word = lane_index() & 3;
    const int output = lane_index() >> 2;
    const int first = word * kLineWords + (output ^ (word & 2) << 2);
    const int second = first ^ 8;
    const int line = at + step * cuda::kStepWords * kLineWords;
    a[0] = room[line + first];
    a[1] = room[line + second];
    a[2] = room[line + first + 4 * kLineWords];
    a[3] = room[line + second + 4 * kLineWords];
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
  static constexpr int kStageRoom = kStageWords + kLineWords;
  static_assert(kSuperblockInputs == kStageSteps * kInt4GroupInputs &&
                kInt4GroupInputs == 4 * cuda::kStepWords);
  static FATHOM_DEVICE int place(int piece) { return piece; }
  static FATHOM_DEVICE void load(uint32_t (&a)[4], const SharedArray<uint32_t>& room, int at, int step) {
    const int output = lane_index() >> 2;
    const int line = at + (lane_index() >> 1 & 1) * kLineWords + output;
    const int nibble = (lane_index() & 1) * 4;
    const int byte = (output & 3) * 8;
    const int factors = at + (output >> 2) + step * 4;
    const int first = line + (1 + step * 4) * kLineWords;
    const uint32_t factor = room[factors] >> byte & 0xffu;
    const uint32_t other_factor = room[factors + 2] >> byte & 0xffu;
    a[0] = expand_nibbles(room[first] >> nibble, factor);
    a[1] = expand_nibbles(room[first + 8] >> nibble, other_factor);
    a[2] = expand_nibbles(room[first + 2 * kLineWords] >> nibble, factor);
    a[3] = expand_nibbles(room[first + 2 * kLineWords + 8] >> nibble, other_factor);
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

// Begins copying a stage of a panel to room[at], 16 bytes each: pieces first, first + kThreads, ..; from is
// where the stage begins, and what lies beyond its words that are left becomes 0.
template <typename Panels, int kThreads>
FATHOM_DEVICE void copy_panel(const SharedArray<uint32_t>& room, int at, const uint32_t* from, int words_left,
                              int first) {
  constexpr int kPieces = Panels::kStageWords / 4;
  static_assert(kThreads % 16 == 0);  // places of pieces that are so far apart are too
  FATHOM_UNROLL
  for (int i = 0; i < kPieces; i += kThreads) {
    const int piece = i + first;
    if (kPieces % kThreads == 0 || piece < kPieces)
      copy_async_16(room, at + (Panels::place(first) + i) * 4, from + piece * 4,
                    piece * 4 < words_left ? 16 : 0);
  }
}

// Rows of inputs in a stage: 128 bytes a row, the 16-byte pieces of each of 8 rows in another order, so that
// those that one matrix of ldmatrix takes lie in different banks. Stages begin at whole rows of banks.
constexpr int kRowStageWords = cuda::kRowStageBytes / 4;
constexpr int kRowPieces = kRowStageWords / 4;

FATHOM_DEVICE int row_word(int row, int piece) { return row * kRowStageWords + (piece ^ (row & 7)) * 4; }

// What each of kThreads threads copies of a stage's kRows rows: one piece of every kThreads / kRowPieces-th
// row.
template <int kThreads, int kRows>
struct RowCopies {
  static constexpr int kStep = kThreads / kRowPieces;
  static constexpr int kCount = (kRows + kStep - 1) / kStep;
  const uint32_t* from[kCount];
  int words[kCount];  // that there are from there on; 0: no such row

  FATHOM_DEVICE RowCopies(const Launched& launched, const Work& work, int64_t first_row, int num_rows,
                          int thread) {
    const int word = (thread & (kRowPieces - 1)) * 4;
    FATHOM_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const int row = (thread >> 3) + i * kStep;
      const bool inside = row < num_rows;
      from[i] = input_row(launched, work, first_row + (inside ? row : 0)) + word;
      words[i] = inside ? launched.input_words - word : 0;
    }
  }
  // Begins copying words [word, word + kRowStageWords) of rows [0, staged) to room[at]; what is not there
  // becomes 0.
  FATHOM_DEVICE void copy(const SharedArray<uint32_t>& room, int at, int word, int staged, int thread) const {
    FATHOM_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const int row = (thread >> 3) + i * kStep;
      if (row < staged)
        copy_async_16(room, at + row_word(row, thread & (kRowPieces - 1)), from[i] + word,
                      word < words[i] ? 16 : 0);
    }
  }
};

// The row of 16 whose address a lane gives to load_rows.
FATHOM_DEVICE int address_row() { return (lane_index() >> 4) * 8 + (lane_index() & 7); }

// The right operands of two products, b[0] and b[1], b[2] and b[3], of a step of the stage of rows at
// room[at].
FATHOM_DEVICE void load_rows(uint32_t (&b)[4], const SharedArray<uint32_t>& room, int at, int row, int step) {
  load_matrices(b, room, (at + row_word(row, lane_index() >> 3 & 1)) ^ step * 2 * 4);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
