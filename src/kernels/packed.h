// The packed layouts of weight matrices, one per format, read by every instruction set alike. Plain data
// header.
//
// A matrix [rows, cols] (outputs, inputs) is cut into panels of 16 outputs. A panel is a sequence of 64-byte
// lines; a line holds, for each of the 16 outputs in turn, 4 bytes of consecutive inputs:
//
//   format      inputs in a line   line i of panel p, output j (0..15), input g
//   float32     1                  w[16 p + j, i]
//   bf16, fp16  2                  w[16 p + j, 2 i + g]
//   int8        4                  w[16 p + j, 4 i + g]
//
// int4 is int8 in a shorter spelling, w = factor * q with q in [-8, 7] and a factor in [0, 15] for 32 inputs
// of an output. A superblock of 128 inputs is a line of factors and 16 lines of nibbles, 4.25 bits a weight:
//
//   line 0             byte 16 g + j: the factor of inputs [32 g, 32 g + 32) of output j
//   line 1 + l (0..15) byte 4 j + g: q + 8 of input 8 l + g in the low nibble, of input 8 l + 4 + g in the
//   high
//
// so that the low and the high nibbles of a line are two lines of int8.
//
// Sixteen lines are what a tile register of AMX holds (its right-hand operand), and one line is what a dot
// instruction of AVX-512 (vpdpbusd, vdpbf16ps) or two of AVX2 take. cols are padded with zeros to whole tiles
// (16, 32 or 64 inputs; int4: 128), rows to whole panels; a panel's lines are contiguous, panels follow each
// other.
//
// Gate and up of a network are packed as one matrix of panel pairs: panel 2 i holds gate's outputs [16 i, 16
// i
// + 16), panel 2 i + 1 up's.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

namespace fathom::kernels {

inline constexpr int64_t kPanelRows = 16;
inline constexpr int64_t kLineBytes = 64;
inline constexpr int64_t kTileLines = 16;

enum class PanelFormat : uint8_t { kFloat32, kBFloat16, kFloat16, kInt8, kInt4 };

// The panels of a matrix stored as dtype: float32, bf16, fp16, int8, or uint8 for pairs of int4.
static inline PanelFormat panel_format(DType dtype) {
  switch (dtype) {
    case DType::kBFloat16:
      return PanelFormat::kBFloat16;
    case DType::kFloat16:
      return PanelFormat::kFloat16;
    case DType::kInt8:
      return PanelFormat::kInt8;
    case DType::kUint8:
      return PanelFormat::kInt4;
    default:
      return PanelFormat::kFloat32;
  }
}

// Whether weights have scales and exact sums.
static inline bool is_integer(PanelFormat format) {
  return format == PanelFormat::kInt8 || format == PanelFormat::kInt4;
}

inline constexpr int64_t kInt4GroupInputs = 32;
inline constexpr int64_t kSuperblockInputs = 128;
inline constexpr int64_t kSuperblockBytes = (1 + kSuperblockInputs / 8) * kLineBytes;

// Inputs in one line of a panel; of int4 in a line of nibbles.
static inline int64_t line_inputs(PanelFormat format) {
  switch (format) {
    case PanelFormat::kFloat32:
      return 1;
    case PanelFormat::kInt8:
      return 4;
    case PanelFormat::kInt4:
      return 8;
    default:
      return 2;
  }
}

// cols rounded up to whole tiles: the inputs a panel holds and, but for int4, a row of packed activations
// has.
static inline int64_t padded_inputs(int64_t cols, PanelFormat format) {
  const int64_t tile = kTileLines * line_inputs(format);
  return (cols + tile - 1) / tile * tile;
}

static inline int64_t num_panels(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

static inline int64_t panel_bytes(int64_t cols, PanelFormat format) {
  const int64_t inputs = padded_inputs(cols, format);
  if (format == PanelFormat::kInt4) return inputs / kSuperblockInputs * kSuperblockBytes;
  return inputs / line_inputs(format) * kLineBytes;
}

// What the lines hold instead of one matrix: panel pairs of gate and up.
enum class PanelOrder : uint8_t { kPlain, kGateUpPairs };

// Packs panels [begin, end) of a row-major matrix into panels (of panel `begin` first). With kGateUpPairs,
// source is gate and second is up, both [rows, cols], and panels count both.
struct PackParams {
  // [rows, cols] row-major, format; int4: two inputs a byte, the even one in the low nibble, two's complement
  const void* source = nullptr;
  const void* second = nullptr;             // likewise; kGateUpPairs only
  const uint8_t* factors = nullptr;         // [rows, ceil(cols / group_size)] of source; int4 only
  const uint8_t* second_factors = nullptr;  // likewise of second
  void* panels = nullptr;                   // (end - begin) * panel_bytes()
  int32_t* sums = nullptr;  // [(end - begin) * 16] sum of each output's weights; integers only
  PanelFormat format = PanelFormat::kFloat32;
  PanelOrder order = PanelOrder::kPlain;
  int64_t rows = 0;
  int64_t cols = 0;               // even for int4
  int64_t group_size = 0;         // a multiple of 32; int4 only
  int64_t source_row_stride = 0;  // elements between rows; not for int4, whose rows are contiguous
  int64_t source_col_stride = 1;  // elements between columns: packs a transposed matrix where not 1
  int64_t begin = 0;
  int64_t end = 0;
};
void pack_panels(const PackParams& p);

}  // namespace fathom::kernels
