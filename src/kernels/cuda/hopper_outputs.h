// What becomes of the sums of a block of linear_hopper.cu: through shared memory, so that a thread writes
// four consecutive outputs of a token. Included by linear_hopper.cu only.
#pragma once

#include <type_traits>

#include "kernels/cuda/hopper_tile.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {

FATHOM_DEVICE uint32_t sum_bits(float sum) { return float_to_bits(sum); }
FATHOM_DEVICE uint32_t sum_bits(int32_t sum) { return static_cast<uint32_t>(sum); }
template <typename Sum>
FATHOM_DEVICE Sum sum_of_bits(uint32_t bits) {
  if constexpr (std::is_same_v<Sum, float>) {
    return bits_to_float(bits);
  } else {
    return static_cast<Sum>(bits);
  }
}

// Leaves a warp's sums in shared memory, the stages' no longer needed, as [kRows, kPanels * 16] by output.
template <typename Shape, typename Sum>
FATHOM_DEVICE void store_sums(const TileRooms<Shape, Sum>& rooms, const LaneRows& rows,
                              const Sum (&sums)[Shape::kRowSums]) {
  FATHOM_UNROLL
  for (int i = 0; i < Shape::kRowSums; ++i) {
    const int row = i / 4 * 8 + lane_index() % 4 * 2 + i % 2, half = i % 4 / 2;
    rooms.stages[row * Shape::kSumStride + panel_of_box<Shape>(rows.box[half]) * kPanelWidth +
                 rows.output[half]] = sum_bits(sums[i]);
  }
}

// Consecutive outputs of a block that a thread writes.
inline constexpr int kWide = 4;
struct WideOutputs {
  int sums;         // where their sums begin in a row of them; up's are kPanelWidth further
  int count;        // that exist
  bool is_aligned;  // all exist, in y at a multiple of kWide elements
  int64_t column;   // of y
  float scales[2][kWide];
  float bias[kWide];
};
FATHOM_DEVICE WideOutputs outputs_of_thread(const Launched& launched, const TileBlock& block, bool is_paired,
                                            int first) {
  const LinearParams& p = launched.batch.linear;
  const int panel = first / kPanelWidth * (is_paired ? 2 : 1), in_panel = first % kPanelWidth;
  WideOutputs out{panel * kPanelWidth + in_panel, 0, false, 0, {}, {}};
  out.column = block.first_panel / (is_paired ? 2 : 1) * kPanelWidth + first;
  const int64_t left = panel < block.num_panels ? p.num_outputs - out.column : 0;
  out.count = left < kWide ? static_cast<int>(left) : kWide;
  out.is_aligned = out.count == kWide && p.y_stride % kWide == 0 &&
                   reinterpret_cast<uintptr_t>(p.y) % (kWide * sizeof(float)) == 0;
  const int64_t weight = block.first_panel * kPanelWidth + out.sums;
  FATHOM_UNROLL
  for (int i = 0; i < kWide; ++i) {
    const bool exists = i < out.count;
    const bool has_scale = exists && launched.has_weight_scales;
    out.scales[0][i] = has_scale ? block.work.weight_scales[weight + i] : 1.0f;
    out.scales[1][i] = has_scale && is_paired ? block.work.weight_scales[weight + kPanelWidth + i] : 1.0f;
    out.bias[i] = exists && p.bias != nullptr ? p.bias[out.column + i] : 0.0f;
  }
  return out;
}

// What put_output() of linear_work.h does with each.
FATHOM_DEVICE void put_outputs(const Launched& launched, const WideOutputs& out, const TokenPlace& place,
                               float (&values)[kWide]) {
  const LinearParams& p = launched.batch.linear;
  const DType dtype = launched.batch.y_dtype;
  const int64_t at = place.y + out.column;
  if (p.output == LinearParams::Output::kAdd || p.output == LinearParams::Output::kAddWeighted) {
    float sums[kWide];
    if (out.is_aligned) load_wide(sums, p.y + at);
    FATHOM_UNROLL
    for (int i = 0; i < kWide; ++i) {
      if (p.output == LinearParams::Output::kAddWeighted) values[i] = place.y_weight * values[i];
      if (!out.is_aligned) sums[i] = i < out.count ? p.y[at + i] : 0.0f;
      values[i] = sums[i] + values[i];
    }
  }
  if (!out.is_aligned) {
    FATHOM_UNROLL
    for (int i = 0; i < kWide; ++i)
      if (i < out.count) store_float(p.y, dtype, at + i, values[i]);
  } else if (dtype == DType::kFloat32) {
    store_wide(p.y + at, values);
  } else {
    uint16_t halves[kWide];
    FATHOM_UNROLL
    for (int i = 0; i < kWide; ++i) halves[i] = float_to_16_bits(values[i], dtype);
    store_wide(reinterpret_cast<uint16_t*>(p.y) + at, halves);
  }
}

// The values of kWide sums that begin at a word: of one row, or of two digits' rows.
template <typename Shape, typename Sum>
FATHOM_DEVICE void load_values(const TileRooms<Shape, Sum>& rooms, int rows_per_token, int token, int sums,
                               float (&values)[kWide]) {
  uint32_t first[kWide], second[kWide];
  load_piece(first, rooms.stages, token * rows_per_token * Shape::kSumStride + sums);
  if (rows_per_token == 2) load_piece(second, rooms.stages, (token * 2 + 1) * Shape::kSumStride + sums);
  FATHOM_UNROLL
  for (int i = 0; i < kWide; ++i)
    values[i] = rows_per_token == 2 ? pair_value(sum_of_bits<Sum>(first[i]), sum_of_bits<Sum>(second[i]))
                                    : static_cast<float>(sum_of_bits<Sum>(first[i]));
}

// finish() of linear_work.h; a thread takes its outputs of every few tokens.
template <typename Shape, typename Sum>
FATHOM_DEVICE void write_outputs(const Launched& launched, const TileBlock& block,
                                 const TileRooms<Shape, Sum>& rooms, bool is_paired) {
  const LinearParams& p = launched.batch.linear;
  const int threads = Shape::kPanels * kPanelWidth / kWide / (is_paired ? 2 : 1);  // of a token
  const WideOutputs out = outputs_of_thread(launched, block, is_paired, thread_index() % threads * kWide);
  if (out.count <= 0) return;
  const int num_tokens = Shape::kRows / launched.rows_per_token;
  for (int token = thread_index() / threads; token < num_tokens; token += Shape::kThreads / threads) {
    const TokenPlace place = rooms.places[token];
    if (place.y < 0) return;  // and so are all after it
    float own[kWide], up[kWide];
    load_values(rooms, launched.rows_per_token, token, out.sums, own);
    FATHOM_UNROLL
    for (int i = 0; i < kWide; ++i) own[i] = own[i] * out.scales[0][i] * place.x_scale;
    if (is_paired) {
      load_values(rooms, launched.rows_per_token, token, out.sums + kPanelWidth, up);
      FATHOM_UNROLL
      for (int i = 0; i < kWide; ++i) {
        const float silu = own[i] / (1.0f + exponential(-own[i]));
        own[i] = round_activation(silu * (up[i] * out.scales[1][i] * place.x_scale), p.rounding);
      }
    }
    if (p.bias != nullptr)
      for (int i = 0; i < kWide; ++i) own[i] += out.bias[i];
    put_outputs(launched, out, place, own);
  }
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
