#include "device/weight_source.h"

#include "base/check.h"

namespace fathom {
namespace {

std::string stored_as(const WeightSource& source) {
  if (source.tensor.dtype == DType::kUint8) return fmt::format("int4 in groups of {}", source.group_size);
  return std::string(dtype_name(source.tensor.dtype));
}

}  // namespace

Weight describe(const WeightSource& source, kernels::PanelOrder order) {
  Weight weight;
  weight.format = kernels::panel_format(source.tensor.dtype);
  weight.int8_inputs = source.int8_inputs;
  weight.order = order;
  weight.rows = source.tensor.shape[0];
  weight.cols = source.tensor.shape[1] * (weight.format == kernels::PanelFormat::kInt4 ? 2 : 1);
  return weight;
}

Status check_gate_and_up(const WeightSource& gate, const WeightSource& up) {
  const DType dtype = gate.tensor.dtype;
  if (dtype == up.tensor.dtype && (is_floating(dtype) || gate.int8_inputs == up.int8_inputs) &&
      gate.group_size == up.group_size)
    return ok_status();
  return unsupported("gate is stored as {} and up as {}: both must be stored alike", stored_as(gate),
                     stored_as(up));
}

void spread_scales(const WeightSource& source, const WeightSource* second, float* scales) {
  FATHOM_CHECK(source.scales != nullptr, "integers without scales");
  const int64_t step = second != nullptr ? 2 : 1;
  for (int64_t row = 0; row < source.tensor.shape[0]; ++row) {
    float* panel = scales + row / kernels::kPanelRows * step * kernels::kPanelRows;
    const int64_t place = row % kernels::kPanelRows;
    panel[place] = source.scales[row];
    if (second != nullptr) panel[kernels::kPanelRows + place] = second->scales[row];
  }
}

}  // namespace fathom
