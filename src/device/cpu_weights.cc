// Packing weights: every thread packs panels of its own NUMA node's part, so that the pages lie there.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "device/cpu_backend.h"
#include "device/weight_source.h"
#include "kernels/ref/numbers.h"

namespace fathom {

// A matrix to be packed and where its memory goes: node -1 spreads the panels over all nodes.
struct CpuBackend::PackSource {
  const void* data = nullptr;
  const void* second = nullptr;             // kGateUpPairs
  const uint8_t* factors = nullptr;         // int4
  const uint8_t* second_factors = nullptr;  // likewise
  int64_t group_size = 0;                   // likewise
  int64_t row_stride = 0;                   // elements
  int64_t col_stride = 1;
  int node = -1;
};

Status CpuBackend::pack(const PackSource& source, Weight& weight) {
  const int64_t step = weight.order == kernels::PanelOrder::kGateUpPairs ? 2 : 1;
  weight.num_panels = kernels::num_panels(weight.rows) * step;
  const int64_t bytes = kernels::panel_bytes(weight.cols, weight.format);
  const auto num_sums = static_cast<size_t>(weight.num_panels * kernels::kPanelRows);
  int32_t* sums = nullptr;
  if (kernels::is_integer(weight.format)) {
    FATHOM_ASSIGN_OR_RETURN(std::byte * memory, arena_.allocate(0, num_sums * sizeof(int32_t)));
    weight.sums = sums = reinterpret_cast<int32_t*>(memory);
  }
  for (int node = 0; node < team_.num_nodes(); ++node) {
    IndexRange panels = node_panels(weight.num_panels, step, node, team_.num_nodes());
    if (source.node >= 0) panels = node == source.node ? IndexRange{0, weight.num_panels} : IndexRange{};
    FATHOM_ASSIGN_OR_RETURN(std::byte * memory,
                            arena_.allocate(node, static_cast<size_t>(panels.size() * bytes)));
    weight.parts.push_back({memory - panels.begin * bytes, panels.begin, panels.end});
  }
  team_.run([&](int thread) {
    const NodeSeat& seat = seats_[static_cast<size_t>(thread)];
    const WeightPart& part = weight.parts[static_cast<size_t>(seat.node)];
    const IndexRange share = static_share(part.end - part.begin, step, seat.index, seat.num_threads);
    const int64_t begin = part.begin + share.begin;
    kernels::pack_panels({.source = source.data,
                          .second = source.second,
                          .factors = source.factors,
                          .second_factors = source.second_factors,
                          .panels = const_cast<std::byte*>(part.panels) + begin * bytes,
                          .sums = sums != nullptr ? sums + begin * kernels::kPanelRows : nullptr,
                          .format = weight.format,
                          .order = weight.order,
                          .rows = weight.rows,
                          .cols = weight.cols,
                          .group_size = source.group_size,
                          .source_row_stride = source.row_stride,
                          .source_col_stride = source.col_stride,
                          .begin = begin,
                          .end = part.begin + share.end});
  });
  return ok_status();
}

// Scales in the order of the panels' outputs; those of padding stay 0.
Status CpuBackend::pack_scales(const WeightSource& source, const WeightSource* second, Weight& weight) {
  if (!kernels::is_integer(weight.format)) return ok_status();
  const auto count = static_cast<size_t>(weight.num_panels * kernels::kPanelRows);
  FATHOM_ASSIGN_OR_RETURN(std::byte * memory, arena_.allocate(0, count * sizeof(float)));
  auto* scales = reinterpret_cast<float*>(memory);
  spread_scales(source, second, scales);
  weight.scales = scales;
  return ok_status();
}

Result<Weight> CpuBackend::load_matrix(const WeightSource& source) {
  Weight weight = describe(source, kernels::PanelOrder::kPlain);
  FATHOM_RETURN_IF_ERROR(pack({.data = source.tensor.data,
                               .factors = source.factors,
                               .group_size = source.group_size,
                               .row_stride = weight.cols},
                              weight));
  FATHOM_RETURN_IF_ERROR(pack_scales(source, nullptr, weight));
  return weight;
}

Result<MlpWeights> CpuBackend::load_mlp(const WeightSource& gate, const WeightSource& up,
                                        const WeightSource& down) {
  FATHOM_RETURN_IF_ERROR(check_gate_and_up(gate, up));
  MlpWeights weights;
  weights.gate_up = describe(gate, kernels::PanelOrder::kGateUpPairs);
  FATHOM_RETURN_IF_ERROR(pack({.data = gate.tensor.data,
                               .second = up.tensor.data,
                               .factors = gate.factors,
                               .second_factors = up.factors,
                               .group_size = gate.group_size,
                               .row_stride = weights.gate_up.cols},
                              weights.gate_up));
  FATHOM_RETURN_IF_ERROR(pack_scales(gate, &up, weights.gate_up));
  FATHOM_ASSIGN_OR_RETURN(weights.down, load_matrix(down));
  return weights;
}

Result<KvBWeights> CpuBackend::load_kv_b(const TensorView& tensor, int64_t num_heads, int64_t nope_dim) {
  const int64_t latent_dim = tensor.shape[1];
  const int64_t head_rows = tensor.shape[0] / num_heads;
  const auto row_bytes = latent_dim * static_cast<int64_t>(dtype_bytes(tensor.dtype));
  const auto row_at = [&](int64_t row) {
    return static_cast<const std::byte*>(tensor.data) + row * row_bytes;
  };
  const auto make = [&](int64_t rows, int64_t cols) {
    Weight weight;
    weight.format = kernels::panel_format(tensor.dtype);
    weight.rows = rows;
    weight.cols = cols;
    return weight;
  };
  KvBWeights heads;
  for (int64_t h = 0; h < num_heads; ++h) {
    const int node = static_cast<int>(h * team_.num_nodes() / num_heads);
    const std::byte* key_rows = row_at(h * head_rows);
    heads.absorb.push_back(make(latent_dim, nope_dim));
    FATHOM_RETURN_IF_ERROR(pack({.data = key_rows, .row_stride = 1, .col_stride = latent_dim, .node = node},
                                heads.absorb.back()));
    heads.keys.push_back(make(nope_dim, latent_dim));
    FATHOM_RETURN_IF_ERROR(
        pack({.data = key_rows, .row_stride = latent_dim, .node = node}, heads.keys.back()));
    heads.values.push_back(make(head_rows - nope_dim, latent_dim));
    FATHOM_RETURN_IF_ERROR(
        pack({.data = row_at(h * head_rows + nope_dim), .row_stride = latent_dim, .node = node},
             heads.values.back()));
  }
  return heads;
}

Result<VectorWeight> CpuBackend::load_vector(const TensorView& tensor) {
  const int64_t size = tensor.shape.num_elements();
  FATHOM_ASSIGN_OR_RETURN(std::byte * memory, arena_.allocate(0, static_cast<size_t>(size) * sizeof(float)));
  auto* values = reinterpret_cast<float*>(memory);
  for (int64_t i = 0; i < size; ++i) values[i] = kernels::ref::load_element(tensor.data, tensor.dtype, i);
  return VectorWeight{values, size};
}

Result<EmbeddingTable> CpuBackend::load_embedding(const TensorView& tensor) {
  const auto row_bytes = static_cast<int64_t>(tensor.num_bytes()) / tensor.shape[0];
  FATHOM_ASSIGN_OR_RETURN(std::byte * memory, arena_.allocate(0, tensor.num_bytes()));
  team_.run([&](int thread) {
    const IndexRange rows = static_share(tensor.shape[0], 1, thread, team_.size());
    std::memcpy(memory + rows.begin * row_bytes,
                static_cast<const std::byte*>(tensor.data) + rows.begin * row_bytes,
                static_cast<size_t>(rows.size() * row_bytes));
  });
  return EmbeddingTable{
      .data = memory, .dtype = tensor.dtype, .rows = tensor.shape[0], .cols = tensor.shape[1]};
}

}  // namespace fathom
