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
// Sixteen lines are what a tile register of AMX holds (its right-hand operand), and one line is what a dot
// instruction of AVX-512 (vpdpbusd, vdpbf16ps) or two of AVX2 take. cols are padded with zeros to whole tiles
// (16, 32 or 64 inputs), rows to whole panels; a panel's lines are contiguous, panels follow each other.
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

// Inputs in one line of a panel.
static inline int64_t line_inputs(DType format) {
  return format == DType::kInt8 ? 4 : format == DType::kFloat32 ? 1 : 2;
}

// cols rounded up to whole tiles: the inputs a panel holds and a row of packed activations has.
static inline int64_t padded_inputs(int64_t cols, DType format) {
  const int64_t tile = kTileLines * line_inputs(format);
  return (cols + tile - 1) / tile * tile;
}

static inline int64_t num_panels(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

static inline int64_t panel_bytes(int64_t cols, DType format) {
  return padded_inputs(cols, format) / line_inputs(format) * kLineBytes;
}

// What the lines hold instead of one matrix: panel pairs of gate and up.
enum class PanelOrder : uint8_t { kPlain, kGateUpPairs };

// Packs panels [begin, end) of a row-major matrix into panels (of panel `begin` first). With kGateUpPairs,
// source is gate and second is up, both [rows, cols], and panels count both.
struct PackParams {
  const void* source = nullptr;  // [rows, cols] row-major, format
  const void* second = nullptr;  // likewise; kGateUpPairs only
  void* panels = nullptr;        // (end - begin) * panel_bytes()
  int32_t* sums = nullptr;       // [(end - begin) * 16] sum of each output's inputs; int8 only
  DType format = DType::kFloat32;
  PanelOrder order = PanelOrder::kPlain;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t source_row_stride = 0;  // elements between rows
  int64_t source_col_stride = 1;  // elements between columns: packs a transposed matrix where not 1
  int64_t begin = 0;
  int64_t end = 0;
};
void pack_panels(const PackParams& p);

}  // namespace fathom::kernels
