// What the cuts of a linear share: which tokens and panels are a block's, the products of the tensor core,
// and what becomes of their sums. Included by linear.cu and the cuts in files of their own.
#pragma once

#include "kernels/cuda/linear_plan.h"
#include "kernels/cuda/numbers.h"
#include "kernels/cuda/params.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {

inline constexpr int kLineWords = static_cast<int>(kLineBytes) / 4;

struct BFloat16Products {
  using Sum = float;
  static FATHOM_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_bf16(c, a, b);
  }
};
struct Float16Products {
  using Sum = float;
  static FATHOM_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_fp16(c, a, b);
  }
};
struct Int8Products {
  using Sum = int32_t;
  static FATHOM_DEVICE void multiply(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_int8(c, a, b);
  }
};

struct Launched {
  cuda::LinearBatchParams batch;
  int panel_words;    // of one panel
  int input_words;    // of a row of x: those behind them are not read
  int64_t row_words;  // from row to row of x
  int num_steps;
  int blocks_of_item;  // along y; an item is a tile, an interleaved group or the whole launch
  int item_tokens;     // at most
  int rows_per_token;  // 1 or 2
  bool has_x_scales;
  bool has_weight_scales;
};

// The tokens and the weight of a block: tokens first_token + i * token_step of the launch.
struct Work {
  int64_t first_token;
  int64_t token_step;
  int64_t num_tokens;
  int64_t row_block;  // which of the item's blocks
  const uint32_t* panels;
  const float* weight_scales;
};

FATHOM_DEVICE Work work_of_block(const Launched& launched) {
  const cuda::LinearBatchParams& batch = launched.batch;
  auto item = static_cast<int32_t>(block_y());
  int32_t row_block = 0;
  if (launched.blocks_of_item != 1) {  // a division is slow
    row_block = item % launched.blocks_of_item;
    item = item / launched.blocks_of_item;
  }
  if (batch.groups == nullptr) {
    return {0,
            1,
            batch.linear.num_tokens,
            row_block,
            static_cast<const uint32_t*>(batch.linear.panels),
            batch.linear.weight_scales};
  }
  cuda::LinearTile tile{item, item, launched.item_tokens};
  if (batch.tiles != nullptr) tile = batch.tiles[item];
  const cuda::LinearGroup& chosen = batch.groups[tile.group];
  return {
      tile.first, batch.tiles != nullptr ? 1 : batch.num_groups, chosen.panels != nullptr ? tile.count : 0,
      row_block,  static_cast<const uint32_t*>(chosen.panels),   chosen.weight_scales};
}

// The launch's number of a block's token.
FATHOM_DEVICE int64_t launch_token(const Work& work, int64_t token) {
  return work.first_token + token * work.token_step;
}

// The row of x that token t of the launch reads.
FATHOM_DEVICE int64_t input_token(const cuda::LinearBatchParams& batch, int64_t t) {
  return batch.x_rows != nullptr ? batch.x_rows[t] : t;
}

// The words of row n of a block's work.
FATHOM_DEVICE const uint32_t* input_row(const Launched& launched, const Work& work, int64_t n) {
  const int digit = launched.rows_per_token - 1;  // shift and mask
  const int64_t token = input_token(launched.batch, launch_token(work, n >> digit));
  return static_cast<const uint32_t*>(launched.batch.linear.x) +
         ((token << digit) + (n & digit)) * launched.row_words;
}

// Of two digits' sums.
FATHOM_DEVICE float pair_value(int32_t high, int32_t low) {
  return fused_multiply_add(static_cast<float>(high), kDigitBase, static_cast<float>(low));
}
FATHOM_DEVICE float pair_value(float high, float) { return high; }

// One output of one token, scales and bias in, or SiLU of gate times up.
FATHOM_DEVICE float scaled(const Launched& launched, const Work& work, float value, int64_t output,
                           int64_t token) {
  if (launched.has_weight_scales) value = value * work.weight_scales[output];
  if (launched.has_x_scales)
    value = value * launched.batch.linear.x_scales[input_token(launched.batch, launch_token(work, token))];
  return value;
}

FATHOM_DEVICE void put_output(const Launched& launched, const Work& work, int64_t token, int64_t j,
                              float value) {
  const LinearParams& p = launched.batch.linear;
  const int64_t t = launch_token(work, token);
  if (p.bias != nullptr) value += p.bias[j];
  const int64_t at = (p.y_rows != nullptr ? p.y_rows[t] : t) * p.y_stride + j;
  if (p.output == LinearParams::Output::kAdd) {
    p.y[at] += value;
  } else if (p.output == LinearParams::Output::kAddWeighted) {
    const float weighted = p.y_weights[t] * value;
    p.y[at] += weighted;
  } else {
    store_float(p.y, launched.batch.y_dtype, at, value);
  }
}

// values: of one panel, or of gate's and up's.
template <int kPanels>
FATHOM_DEVICE void finish(const Launched& launched, const Work& work, int64_t panel, int row_of_panel,
                          int64_t token, const float (&values)[kPanels]) {
  const LinearParams& p = launched.batch.linear;
  const int64_t j = panel / kPanels * kPanelRows + row_of_panel;
  if (token >= work.num_tokens || j >= p.num_outputs) return;
  const int64_t output = panel * kPanelRows + row_of_panel;
  float value = scaled(launched, work, values[0], output, token);
  if constexpr (kPanels == 2) {
    const float silu = value / (1.0f + exponential(-value));
    value =
        round_activation(silu * scaled(launched, work, values[1], output + kPanelRows, token), p.rounding);
  }
  put_output(launched, work, token, j, value);
}

// Writes a product's results: c[i] of a lane is output lane / 4 (+8), row 2 (lane % 4) (+1).
template <int kPanels, typename Sum>
FATHOM_DEVICE void write_product(const Launched& launched, const Work& work, int64_t panel, int64_t first_row,
                                 const Sum (&c)[kPanels][4]) {
  const int lane = lane_index();
  for (int half = 0; half < 2; ++half) {
    const int row_of_panel = lane / 4 + 8 * half;
    const int64_t row = first_row + lane % 4 * 2;
    float values[kPanels];
    if (launched.rows_per_token == 2) {
      for (int i = 0; i < kPanels; ++i) values[i] = pair_value(c[i][2 * half], c[i][2 * half + 1]);
      finish<kPanels>(launched, work, panel, row_of_panel, row / 2, values);
      continue;
    }
    for (int e = 0; e < 2; ++e) {
      for (int i = 0; i < kPanels; ++i) values[i] = static_cast<float>(c[i][2 * half + e]);
      finish<kPanels>(launched, work, panel, row_of_panel, row + e, values);
    }
  }
}

// Of the launch's grid, on the host.
inline int num_blocks(int64_t count, int64_t of) { return static_cast<int>((count + of - 1) / of); }
inline int64_t num_items(const cuda::LinearBatchParams& batch) {
  return batch.tiles != nullptr ? batch.num_tiles : batch.num_groups;
}
inline int64_t max_item_tokens(const cuda::LinearBatchParams& batch) {
  return batch.tiles != nullptr ? batch.tile_tokens : batch.linear.num_tokens / batch.num_groups;
}

Launched describe_launch(const cuda::LinearBatchParams& batch);
cuda::LinearSizes linear_sizes(const Launched& launched);
// The cuts, each in a file of its own.
int launch_stream(const Launched& launched, const cuda::StreamPlan& plan, void* stream);
int launch_tile(const Launched& launched, cuda::TileSize size, void* stream);
int launch_scalar(Launched launched, void* stream);

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
