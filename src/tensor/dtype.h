// Element types of tensors, as safetensors and config.json spell them. Plain data header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fathom {

enum class DType : uint8_t { kFloat32, kBFloat16, kFloat16, kInt8, kUint8, kInt32, kInt64 };

inline size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kBFloat16:
    case DType::kFloat16:
      return 2;
    case DType::kInt8:
    case DType::kUint8:
      return 1;
    case DType::kInt64:
      return 8;
  }
  return 0;
}

inline bool is_floating(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kBFloat16 || dtype == DType::kFloat16;
}

// "F32", "BF16", "F16", "I8", "U8", "I32", "I64": the names in a safetensors header.
std::string_view safetensors_name(DType dtype);
std::optional<DType> dtype_from_safetensors(std::string_view name);

// "fp32", "bf16", "fp16", "int8", ...: the names on the command line and in messages.
std::string_view dtype_name(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);

// "float32", "bfloat16", "float16": the names in config.json (torch_dtype or dtype).
std::optional<DType> dtype_from_torch(std::string_view name);
std::string_view torch_name(DType dtype);

}  // namespace fathom
