// What the tests of linears on the emulated device share: every pair of inputs and weights, and random
// products of them.
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"
#include "kernels/test_support.h"

namespace fathom::kernels::cuda_emulated {

using Output = LinearParams::Output;

struct CudaVariant {
  const char* name;
  InputForm form;
  DType format;
  bool float16_inputs = false;
};
inline constexpr CudaVariant kCudaVariants[] = {
    {"fp32", InputForm::kFloat32, DType::kFloat32},
    {"fp32 x bf16", InputForm::kFloat32, DType::kBFloat16},
    {"fp32 x fp16", InputForm::kFloat32, DType::kFloat16},
    {"bf16", InputForm::kBFloat16, DType::kBFloat16},
    {"fp16", InputForm::kFloat32, DType::kFloat16, true},
    {"W8A8", InputForm::kInt8, DType::kInt8},
    {"W8A16", InputForm::kInt8Pair, DType::kInt8},
    {"W4A8", InputForm::kInt8, DType::kUint8},
    {"W4A16", InputForm::kInt8Pair, DType::kUint8},
};

// Inputs that a variant can have: int4 is packed in pairs.
inline int64_t allowed_inputs(const CudaVariant& variant, int64_t num_inputs) {
  return variant.format == DType::kUint8 ? num_inputs + num_inputs % 2 : num_inputs;
}

// A weight, rows for it in the variant's form, and for the reference.
struct ProductFixture {
  ProductFixture(const CudaVariant& chosen, int64_t num_tokens, int64_t num_inputs, int64_t num_outputs,
                 Output output)
      : variant(chosen),
        values(static_cast<uint64_t>(num_tokens * 1000003 + num_inputs * 1009 + num_outputs)),
        matrix(values, num_outputs, num_inputs, variant.format,
               output == Output::kSiluMul ? PanelOrder::kGateUpPairs : PanelOrder::kPlain),
        x(strided(values, num_tokens, num_inputs, num_inputs)),
        rows(rounded(x), num_tokens, num_inputs, num_inputs, variant.form, row_format(variant), 0),
        bias(strided(values, 1, num_outputs, num_outputs)),
        y_weights(strided(values, 1, num_tokens, num_tokens)) {
    for (int64_t t = 0; t < num_tokens; ++t) y_rows.push_back(static_cast<int32_t>(2 * (num_tokens - t) - 1));
    reference = {.x = rows.bytes.data(),
                 .x_scales = rows.scales.data(),
                 .form = variant.form,
                 .x_stride = rows.stride,
                 .panels = matrix.data(),
                 .weight_scales = matrix.scales.data(),
                 .weight_sums = matrix.sums.data(),
                 .bias = output != Output::kSiluMul && num_tokens % 2 == 0 ? bias.data() : nullptr,
                 .format = matrix.format,
                 .y_stride = num_outputs + 2,
                 .y_rows = num_inputs % 2 == 0 ? y_rows.data() : nullptr,
                 .y_weights = y_weights.data(),
                 .output = output,
                 .num_tokens = num_tokens,
                 .num_inputs = num_inputs,
                 .num_outputs = num_outputs,
                 .begin = matrix.num > 3 ? 2 : 0,
                 .end = matrix.num};
    device.linear = reference;
    if (variant.float16_inputs) prepare_float16();
  }
  static PanelFormat row_format(const CudaVariant& variant) {
    return is_integer(panel_format(variant.format)) ? PanelFormat::kInt8 : panel_format(variant.format);
  }
  // fp16 inputs have float16's precision already.
  std::vector<float> rounded(std::vector<float> data) const {
    if (variant.float16_inputs)
      for (float& value : data) value = ref::round_activation(value, ActivationRounding::kFloat16);
    return data;
  }
  void prepare_float16() {
    const LinearParams& p = reference;
    half_rows.resize(static_cast<size_t>(p.num_tokens * p.x_stride));
    half_scales.resize(static_cast<size_t>(p.num_tokens));
    ASSERT_EQ(prepare({.rows = {.x = x.data(),
                                .width = p.num_inputs,
                                .x_stride = p.num_inputs,
                                .rounding = ActivationRounding::kFloat16,
                                .end = p.num_tokens},
                       .float16 = {half_rows.data(), half_scales.data(), p.x_stride}},
                      nullptr),
              0);
    device.linear.x = half_rows.data();
    device.linear.x_scales = half_scales.data();
    device.float16_inputs = true;
  }
  size_t y_size() const { return static_cast<size_t>(2 * reference.num_tokens * reference.y_stride); }
  std::vector<float> run(const cuda::LinearBatchParams& params) const {
    std::vector<float> y(y_size(), 0.5f);
    cuda::LinearBatchParams p = params;
    p.linear.y = y.data();
    EXPECT_EQ(linear(p, nullptr), 0);
    return y;
  }
  std::vector<float> run_reference() const {
    std::vector<float> y(y_size(), 0.5f);
    LinearParams p = reference;
    p.y = y.data();
    ref::linear(p);
    return y;
  }

  CudaVariant variant;
  Values values;
  TestMatrix matrix;
  std::vector<float> x;
  TestRows rows;
  std::vector<float> bias, y_weights;
  std::vector<int32_t> y_rows;
  std::vector<uint16_t> half_rows;
  std::vector<float> half_scales;
  LinearParams reference;
  cuda::LinearBatchParams device;
};

}  // namespace fathom::kernels::cuda_emulated
