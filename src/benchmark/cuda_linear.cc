#include "benchmark/cuda_linear.h"

#include <algorithm>

#include "kernels/packed.h"

namespace fathom {

using Output = kernels::LinearParams::Output;
using kernels::cuda::LinearGroup;

int64_t CudaLinear::Sizes::num_panels() const {
  return kernels::num_panels(outputs) * (output == Output::kSiluMul ? 2 : 1);
}

Status CudaLinear::choose_weights(const DeviceBuffer& pool, const LinearFormat& format, const Sizes& sizes) {
  const int64_t weight_bytes = sizes.num_panels() * kernels::panel_bytes(sizes.inputs, format.panels());
  const int64_t num_weights = static_cast<int64_t>(pool.bytes()) / weight_bytes;
  if (num_weights == 0) {
    return resource_exhausted("a weight of {} x {} in {} takes {} bytes, there are {} to measure in",
                              sizes.outputs, sizes.inputs, format.name, weight_bytes, pool.bytes());
  }
  const int64_t num_scales = format.is_integer() ? sizes.num_panels() * kernels::kPanelRows : 0;
  if (num_scales > 0) {
    FATHOM_ASSIGN_OR_RETURN(
        scales_, upload_to_cuda(*device_, std::vector<float>(static_cast<size_t>(num_scales), 1.0f / 127)));
  }
  const int64_t num_calls = std::max<int64_t>(num_weights / sizes.num_groups, 1);
  for (int64_t i = 0; i < num_calls * sizes.num_groups; ++i) {
    weights_.push_back({.panels = static_cast<const std::byte*>(pool.data()) + i % num_weights * weight_bytes,
                        .weight_scales = scales_.floats()});
  }
  FATHOM_ASSIGN_OR_RETURN(groups_, upload_to_cuda(*device_, weights_));
  const int64_t stored_bytes = weight_bytes + num_scales * static_cast<int64_t>(sizeof(float));
  call_bytes_ = static_cast<double>(stored_bytes * sizes.num_groups);
  rotated_bytes_ = static_cast<double>(std::min(num_weights, num_calls * sizes.num_groups) * weight_bytes);
  return ok_status();
}

// Rows as the backend prepares them (device/cuda/cuda_backend.cc): fp16 weights take fp16 rows.
Status CudaLinear::make_rows(const LinearFormat& format, const Sizes& sizes) {
  const bool is_float16 = format.dtype == DType::kFloat16;
  const auto form = is_float16 ? kernels::InputForm::kBFloat16 : format.form;
  const auto row_format = format.is_integer() ? kernels::PanelFormat::kInt8 : format.panels();
  const int64_t stride = kernels::padded_inputs(sizes.inputs, row_format);
  const int64_t row_bytes = stride * kernels::input_bytes(form) * kernels::rows_per_token(form);
  FATHOM_ASSIGN_OR_RETURN(x_, random_cuda_memory(*device_, sizes.num_tokens * row_bytes,
                                                 format.is_integer() ? DType::kInt8 : format.dtype));
  const std::vector<float> ones(static_cast<size_t>(sizes.num_tokens), 1.0f);
  FATHOM_ASSIGN_OR_RETURN(x_scales_, upload_to_cuda(*device_, ones));
  FATHOM_ASSIGN_OR_RETURN(y_weights_, upload_to_cuda(*device_, ones));
  const int64_t num_outputs = sizes.num_tokens * sizes.outputs;
  FATHOM_ASSIGN_OR_RETURN(
      y_, upload_to_cuda(*device_, std::vector<float>(static_cast<size_t>(num_outputs), 0.0f)));
  params_ = {.linear = {.x = x_.data(),
                        .x_scales = x_scales_.floats(),
                        .form = format.form,
                        .x_stride = stride,
                        .weight_scales = scales_.floats(),
                        .format = format.panels(),
                        .y = y_.floats(),
                        .y_stride = sizes.outputs,
                        .y_weights = sizes.output == Output::kAddWeighted ? y_weights_.floats() : nullptr,
                        .rounding = format.rounding,
                        .output = sizes.output,
                        .num_tokens = sizes.num_tokens,
                        .num_inputs = sizes.inputs,
                        .num_outputs = sizes.outputs,
                        .begin = 0,
                        .end = sizes.num_panels()},
             .float16_inputs = is_float16,
             .num_groups = sizes.num_groups};
  return ok_status();
}

Result<CudaLinear> CudaLinear::create(const CudaDevice& device, const DeviceBuffer& pool,
                                      const LinearFormat& format, const Sizes& sizes) {
  CudaLinear linear(device);
  linear.num_groups_ = sizes.num_groups;
  FATHOM_RETURN_IF_ERROR(linear.choose_weights(pool, format, sizes));
  FATHOM_RETURN_IF_ERROR(linear.make_rows(format, sizes));
  const int64_t matrices = sizes.output == Output::kSiluMul ? 2 : 1;
  linear.num_operations_ =
      2 * static_cast<double>(matrices * sizes.outputs * sizes.inputs * sizes.num_tokens);
  return linear;
}

int CudaLinear::launch(int64_t call) const {
  kernels::cuda::LinearBatchParams params = params_;
  const int64_t first = call * num_groups_ % static_cast<int64_t>(weights_.size());
  if (num_groups_ > 1) {
    params.groups = static_cast<const LinearGroup*>(groups_.data()) + first;
  } else {
    params.linear.panels = weights_[static_cast<size_t>(first)].panels;
  }
  return device_->kernels.linear(params, device_->stream);
}

}  // namespace fathom
