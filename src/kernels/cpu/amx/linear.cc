// Linears by tiles: unsigned bytes by signed ones (tdpbusd, exact) and bf16 by bf16 (tdpbf16ps).
//
//            panel p   p + 1        A step takes 64 bytes of inputs (64 int8, 32 bf16). Rows are tiled
//   rows    +--------+--------+     straight from the prepared inputs, panels are tiles as they lie.
//   0..15   | tile 0 | tile 1 |     Two rows a token in the form of two digits: its high and low sums are
//   16..31  | tile 2 | tile 3 |     neighbours in a tile.
//           +--------+--------+
//
// Panels are the outer loop, so that a pair of them (64 KB at 2048 inputs of a byte) stays in the
// second-level cache while all rows pass. A block of 32 rows by 2 panels, 64 cycles of products a step, reads
// 4 KB from the second-level cache: 64 bytes a cycle, where Sapphire Rapids sustains about 48, so the bound
// with weights in cache is about 3/4 of the tiles' peak. While a pair is in use the next one is prefetched,
// spread over the row blocks: 32 lines a step with one block, 1 with 32 or more. With few rows that is all
// that counts: a step then reads 2 KB of weights, above what any core gets from memory in the 64 cycles.
//
// Sums leave through 4 KB on the stack: some 300 cycles a block on the AVX-512 side, 600 with SiLU, where a
// block of 2048 int8 inputs takes 2048 cycles of products (bf16 4096).
//
// The last rows: where there are at least 16, the last tile holds the last 16 rows, some of them for the
// second time, and only new ones are written; no second configuration, no row beyond the last is read.
//
// A sum's order is that of its inputs, 32 at a time (bf16: even and odd ones apart), for any number of rows.
#include "kernels/cpu/amx/epilogue.h"
#include "kernels/cpu/amx/kernels.h"
#include "kernels/cpu/amx/other_kernels.h"
#include "kernels/cpu/amx/product.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/params.h"

namespace fathom::kernels::FATHOM_AMX_NAMESPACE {
namespace {

using Output = LinearParams::Output;

constexpr int64_t kBlockRows = 2 * kTileRows;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Up to two tiles of rows. Tile i holds rows [first[i], first[i] + 16), of which [begin[i], end[i]) are its
// own.
struct RowBlock {
  int64_t first[2];
  int64_t begin[2];
  int64_t end[2];
};

RowBlock row_block(int64_t num_rows, int64_t row) {
  const int64_t last_tile = num_rows > kTileRows ? num_rows - kTileRows : 0;
  RowBlock block;
  for (int64_t i = 0; i < 2; ++i) {
    block.begin[i] = smaller(row + i * kTileRows, num_rows);
    block.end[i] = smaller(block.begin[i] + kTileRows, num_rows);
    block.first[i] = smaller(block.begin[i], last_tile);
  }
  return block;
}

template <Product kProduct, InputForm kForm, Output kOutput, int kRowTiles, int kPanels>
void run_block(const LinearParams& p, int64_t panel, const RowBlock& block, Prefetch& prefetch) {
  const int64_t rows_a_token = rows_per_token(kForm);
  const int64_t row_bytes = p.x_stride * input_bytes(kForm);
  const int64_t bytes = panel_bytes(p.num_inputs, p.format);
  const auto* x = static_cast<const uint8_t*>(p.x);
  const auto* first_panel = static_cast<const uint8_t*>(p.panels) + panel * bytes;
  const uint8_t* const rows[2] = {x + block.first[0] * row_bytes, x + block.first[1] * row_bytes};
  const uint8_t* const panels[2] = {first_panel, first_panel + bytes};
  multiply<kProduct, kRowTiles, kPanels>(rows, row_bytes, panels, bytes / kTileBytes, prefetch);
  constexpr int64_t kTileSums = kTileBytes / 4;
  alignas(64) int32_t sums[4 * kTileSums];
  store_sums<kRowTiles, kPanels>(sums);
  for (int64_t i = 0; i < kRowTiles; ++i) {
    const int32_t* tile = sums + 2 * i * kTileSums;
    const TileTokens tokens{block.first[i] / rows_a_token, block.begin[i] / rows_a_token,
                            block.end[i] / rows_a_token};
    if constexpr (kOutput == Output::kSiluMul) {
      write_silu_mul<kForm>(p, panel, tile, tile + kTileSums, tokens);
    } else {
      write_panel<kForm, kOutput>(p, panel, tile, tokens);
      if constexpr (kPanels > 1) write_panel<kForm, kOutput>(p, panel + 1, tile + kTileSums, tokens);
    }
  }
}

// Spreads the lines of the next pair of panels over the steps of this one's row blocks.
Prefetch prefetch_pair(const LinearParams& p, int64_t panel, int64_t num_rows) {
  if (panel >= p.end) return {};
  const int64_t bytes = panel_bytes(p.num_inputs, p.format);
  const int64_t row_blocks = (num_rows + kBlockRows - 1) / kBlockRows;
  const int64_t lines_a_step = 2 * kTileBytes / kLineBytes;
  const auto* next = static_cast<const uint8_t*>(p.panels) + panel * bytes;
  return {next, next + smaller(2, p.end - panel) * bytes, (lines_a_step + row_blocks - 1) / row_blocks};
}

template <Product kProduct, InputForm kForm, Output kOutput>
void run(const LinearParams& p) {
  const int64_t num_rows = p.num_tokens * rows_per_token(kForm);
  if (num_rows == 0) return;
  const TileScope tiles(smaller(num_rows, kTileRows));
  for (int64_t panel = p.begin; panel < p.end; panel += 2) {
    Prefetch prefetch = prefetch_pair(p, panel + 2, num_rows);
    const bool pair = panel + 1 < p.end;
    for (int64_t row = 0; row < num_rows; row += kBlockRows) {
      const RowBlock block = row_block(num_rows, row);
      const bool two = block.begin[1] < block.end[1];
      if (pair) {
        two ? run_block<kProduct, kForm, kOutput, 2, 2>(p, panel, block, prefetch)
            : run_block<kProduct, kForm, kOutput, 1, 2>(p, panel, block, prefetch);
      } else if constexpr (kOutput != Output::kSiluMul) {
        two ? run_block<kProduct, kForm, kOutput, 2, 1>(p, panel, block, prefetch)
            : run_block<kProduct, kForm, kOutput, 1, 1>(p, panel, block, prefetch);
      }
    }
  }
}

template <Product kProduct, InputForm kForm>
void run_output(const LinearParams& p) {
  switch (p.output) {
    case Output::kStore:
      return run<kProduct, kForm, Output::kStore>(p);
    case Output::kAdd:
      return run<kProduct, kForm, Output::kAdd>(p);
    case Output::kAddWeighted:
      return run<kProduct, kForm, Output::kAddWeighted>(p);
    case Output::kSiluMul:
      return run<kProduct, kForm, Output::kSiluMul>(p);
  }
}

}  // namespace

void linear_int8(const LinearParams& p) {
  if (p.form == InputForm::kInt8) return run_output<Product::kInt8, InputForm::kInt8>(p);
  run_output<Product::kInt8, InputForm::kInt8Pair>(p);
}

// Pairs of panels, as many as scratch has room for, expanded to int8.
void linear_int4(const LinearParams& p) {
  if (p.num_tokens <= kFewTokens) return linear_int4_few_tokens(p);
  for (int64_t panel = p.begin; panel < p.end; panel += kExpandedPanels) {
    linear_int8(other_kernels::expand_panels(p, panel, smaller(panel + kExpandedPanels, p.end)));
  }
}

void linear_bf16(const LinearParams& p) { run_output<Product::kBFloat16, InputForm::kBFloat16>(p); }

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE
