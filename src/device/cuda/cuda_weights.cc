// Weights of the CUDA backend: packed on the host, uploaded.
#include <algorithm>
#include <cstring>

#include "device/cuda/cuda_backend.h"
#include "device/weight_source.h"
#include "kernels/ref/numbers.h"

namespace fathom {

// A matrix to be packed.
struct CudaBackend::PanelSource {
  const void* data = nullptr;
  const void* second = nullptr;             // kGateUpPairs
  const uint8_t* factors = nullptr;         // int4
  const uint8_t* second_factors = nullptr;  // likewise
  int64_t group_size = 0;                   // likewise
  int64_t row_stride = 0;                   // elements
  int64_t col_stride = 1;
};

void CudaBackend::pack_panels(const PanelSource& source, const Weight& weight, int64_t begin, int64_t end,
                              std::byte* to) {
  int32_t unused_sums[2 * kernels::kPanelRows];  // inputs have no zero point here
  kernels::pack_panels({.source = source.data,
                        .second = source.second,
                        .factors = source.factors,
                        .second_factors = source.second_factors,
                        .panels = to,
                        .sums = kernels::is_integer(weight.format) ? unused_sums : nullptr,
                        .format = weight.format,
                        .order = weight.order,
                        .rows = weight.rows,
                        .cols = weight.cols,
                        .group_size = source.group_size,
                        .source_row_stride = source.row_stride,
                        .source_col_stride = source.col_stride,
                        .begin = begin,
                        .end = end});
}

Result<const std::byte*> CudaBackend::store_packed(int64_t num_items, int64_t item_bytes,
                                                   PackItem pack_item) {
  const auto bytes = static_cast<size_t>(item_bytes);
  const auto pack_items = [&](int64_t begin, int64_t end, std::byte* to) {
    share_out(end - begin,
              [&](int, int64_t i) { pack_item(begin + i, to + static_cast<size_t>(i) * bytes); });
  };
  FATHOM_ASSIGN_OR_RETURN(void* memory, store_.store(num_items, bytes, pack_items));
  return static_cast<const std::byte*>(memory);
}

Status CudaBackend::pack(const PanelSource& source, Weight& weight) {
  const int64_t step = weight.order == kernels::PanelOrder::kGateUpPairs ? 2 : 1;
  weight.num_panels = kernels::num_panels(weight.rows) * step;
  FATHOM_ASSIGN_OR_RETURN(
      const std::byte* memory,
      store_packed(weight.num_panels / step, step * kernels::panel_bytes(weight.cols, weight.format),
                   [&](int64_t item, std::byte* to) {
                     pack_panels(source, weight, item * step, (item + 1) * step, to);
                   }));
  weight.parts.push_back({memory, 0, weight.num_panels});
  return ok_status();
}

// Scales in the order of the panels' outputs; those of padding are 0.
Status CudaBackend::pack_scales(const WeightSource& source, const WeightSource* second, Weight& weight) {
  if (!kernels::is_integer(weight.format)) return ok_status();
  std::vector<float> scales(static_cast<size_t>(weight.num_panels * kernels::kPanelRows));
  spread_scales(source, second, scales.data());
  FATHOM_ASSIGN_OR_RETURN(void* memory, store_.store(scales.data(), scales.size() * sizeof(float)));
  weight.scales = static_cast<const float*>(memory);
  return ok_status();
}

Result<Weight> CudaBackend::load_matrix(const WeightSource& source) {
  Weight weight = describe(source, kernels::PanelOrder::kPlain);
  FATHOM_RETURN_IF_ERROR(pack({.data = source.tensor.data,
                               .factors = source.factors,
                               .group_size = source.group_size,
                               .row_stride = weight.cols},
                              weight));
  FATHOM_RETURN_IF_ERROR(pack_scales(source, nullptr, weight));
  return weight;
}

Result<MlpWeights> CudaBackend::load_mlp(const WeightSource& gate, const WeightSource& up,
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

// Keys and values lie head by head in one array, so that one product over the panels of several heads expands
// their keys and values side by side.
Result<KvBWeights> CudaBackend::load_kv_b(const TensorView& tensor, int64_t num_heads, int64_t nope_dim) {
  const int64_t latent_dim = tensor.shape[1];
  const int64_t head_rows = tensor.shape[0] / num_heads;
  const auto row_bytes = latent_dim * static_cast<int64_t>(dtype_bytes(tensor.dtype));
  const auto row = [&](int64_t index) {
    return static_cast<const std::byte*>(tensor.data) + index * row_bytes;
  };
  const auto make = [&](int64_t rows, int64_t cols) {
    Weight weight;
    weight.format = kernels::panel_format(tensor.dtype);
    weight.rows = rows;
    weight.cols = cols;
    weight.num_panels = kernels::num_panels(rows);
    return weight;
  };
  const Weight key = make(nope_dim, latent_dim), value = make(head_rows - nope_dim, latent_dim);
  const int64_t panel_bytes = kernels::panel_bytes(latent_dim, key.format);
  const int64_t head_panels = key.num_panels + value.num_panels;
  const auto pack_panel = [&](int64_t item, std::byte* to) {
    const int64_t head_row = item / head_panels * head_rows, panel = item % head_panels;
    if (panel < key.num_panels) {
      pack_panels({.data = row(head_row), .row_stride = latent_dim}, key, panel, panel + 1, to);
    } else {
      const int64_t begin = panel - key.num_panels;
      pack_panels({.data = row(head_row + nope_dim), .row_stride = latent_dim}, value, begin, begin + 1, to);
    }
  };
  FATHOM_ASSIGN_OR_RETURN(const std::byte* memory,
                          store_packed(num_heads * head_panels, panel_bytes, pack_panel));
  const auto at = [&](Weight weight, int64_t panel) {
    weight.parts.push_back({memory + panel * panel_bytes, 0, weight.num_panels});
    return weight;
  };
  KvBWeights heads;
  for (int64_t h = 0; h < num_heads; ++h) {
    heads.keys.push_back(at(key, h * head_panels));
    heads.values.push_back(at(value, h * head_panels + key.num_panels));
    heads.absorb.push_back(make(latent_dim, nope_dim));
    FATHOM_RETURN_IF_ERROR(
        pack({.data = row(h * head_rows), .row_stride = 1, .col_stride = latent_dim}, heads.absorb.back()));
  }
  return heads;
}

Result<VectorWeight> CudaBackend::load_vector(const TensorView& tensor) {
  const int64_t size = tensor.shape.num_elements();
  std::vector<float> values(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i)
    values[static_cast<size_t>(i)] = kernels::ref::load_element(tensor.data, tensor.dtype, i);
  FATHOM_ASSIGN_OR_RETURN(void* memory, store_.store(values.data(), values.size() * sizeof(float)));
  return VectorWeight{static_cast<const float*>(memory), size};
}

Result<EmbeddingTable> CudaBackend::load_embedding(const TensorView& tensor) {
  FATHOM_ASSIGN_OR_RETURN(void* memory, store_.store(tensor.data, tensor.num_bytes()));
  return EmbeddingTable{
      .data = memory, .dtype = tensor.dtype, .rows = tensor.shape[0], .cols = tensor.shape[1]};
}

}  // namespace fathom
