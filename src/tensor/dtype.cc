#include "tensor/dtype.h"

namespace fathom {
namespace {

struct Names {
  DType dtype;
  std::string_view safetensors;
  std::string_view short_name;
  std::string_view torch;
};

constexpr Names kNames[] = {
    {DType::kFloat32, "F32", "fp32", "float32"}, {DType::kBFloat16, "BF16", "bf16", "bfloat16"},
    {DType::kFloat16, "F16", "fp16", "float16"}, {DType::kInt8, "I8", "int8", "int8"},
    {DType::kUint8, "U8", "uint8", "uint8"},
    {DType::kInt32, "I32", "int32", "int32"},    {DType::kInt64, "I64", "int64", "int64"},
};

std::optional<DType> find(std::string_view name, std::string_view Names::*field) {
  for (const Names& names : kNames) {
    if (names.*field == name) return names.dtype;
  }
  return std::nullopt;
}

std::string_view name_of(DType dtype, std::string_view Names::*field) {
  for (const Names& names : kNames) {
    if (names.dtype == dtype) return names.*field;
  }
  return "unknown";
}

}  // namespace

std::string_view safetensors_name(DType dtype) { return name_of(dtype, &Names::safetensors); }
std::optional<DType> dtype_from_safetensors(std::string_view name) { return find(name, &Names::safetensors); }
std::string_view dtype_name(DType dtype) { return name_of(dtype, &Names::short_name); }
std::optional<DType> dtype_from_name(std::string_view name) { return find(name, &Names::short_name); }
std::string_view torch_name(DType dtype) { return name_of(dtype, &Names::torch); }
std::optional<DType> dtype_from_torch(std::string_view name) { return find(name, &Names::torch); }

}  // namespace fathom
