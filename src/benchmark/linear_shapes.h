// The products of a model with its weights, and the formats that these come in: what the benches of kernels
// multiply.
#pragma once

#include <vector>

#include "benchmark/kernel_bench.h"
#include "kernels/params.h"

namespace fathom {

struct LinearShape {
  const char* name;
  KernelGroup group;
  int64_t outputs;  // kSiluMul: of gate and of up
  int64_t inputs;
  kernels::LinearParams::Output output;
  bool never_integer = false;

  // Panels that belong together.
  int64_t step() const { return output == kernels::LinearParams::Output::kSiluMul ? 2 : 1; }
};

// Those of attention, dense layers, router and head (kLinear) or of one expert (kExperts) that the model has.
std::vector<LinearShape> linear_shapes(const ModelConfig& config, KernelGroup group);

struct LinearFormat {
  const char* name;
  DType dtype;              // of the weights; uint8: int4
  kernels::InputForm form;  // of the rows, on the CPU
  kernels::ActivationRounding rounding;
  double OperationCounts::*operations;

  kernels::PanelFormat panels() const { return kernels::panel_format(dtype); }
  bool is_integer() const { return kernels::is_integer(panels()); }
};

// The CPU has no instruction for products of fp16: there they are float32's.
inline constexpr LinearFormat kLinearFormats[] = {
    {"w8a8", DType::kInt8, kernels::InputForm::kInt8, kernels::ActivationRounding::kBFloat16,
     &OperationCounts::int8},
    {"w8a16", DType::kInt8, kernels::InputForm::kInt8Pair, kernels::ActivationRounding::kBFloat16,
     &OperationCounts::int8_pair},
    {"w4a8", DType::kUint8, kernels::InputForm::kInt8, kernels::ActivationRounding::kBFloat16,
     &OperationCounts::int8},
    {"w4a16", DType::kUint8, kernels::InputForm::kInt8Pair, kernels::ActivationRounding::kBFloat16,
     &OperationCounts::int8_pair},
    {"bf16", DType::kBFloat16, kernels::InputForm::kBFloat16, kernels::ActivationRounding::kBFloat16,
     &OperationCounts::bfloat16},
    {"fp16", DType::kFloat16, kernels::InputForm::kFloat32, kernels::ActivationRounding::kFloat16,
     &OperationCounts::float32},
    {"fp32", DType::kFloat32, kernels::InputForm::kFloat32, kernels::ActivationRounding::kNone,
     &OperationCounts::float32},
};

}  // namespace fathom
