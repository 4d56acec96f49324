// Element access and rounding on the device, to the same bits as kernels/ref/numbers.h.
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/params.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {

inline constexpr float kLargestHalf = 65504.0f;

FATHOM_DEVICE float magnitude(float value) { return bits_to_float(float_to_bits(value) & 0x7fffffffu); }
FATHOM_DEVICE bool is_finite(float value) { return (float_to_bits(value) & 0x7f800000u) != 0x7f800000u; }

FATHOM_DEVICE float bf16_to_float(uint16_t bits) { return bits_to_float(static_cast<uint32_t>(bits) << 16); }
FATHOM_DEVICE uint16_t float_to_bf16(float value) {
  const uint32_t bits = float_to_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

FATHOM_DEVICE float load_float(const void* data, DType dtype, int64_t index) {
  if (dtype == DType::kBFloat16) return bf16_to_float(static_cast<const uint16_t*>(data)[index]);
  if (dtype == DType::kFloat16) return half_to_float(static_cast<const uint16_t*>(data)[index]);
  return static_cast<const float*>(data)[index];
}

// The 16 bits of a value; float16 saturates.
FATHOM_DEVICE uint16_t float_to_16_bits(float value, DType dtype) {
  if (dtype == DType::kBFloat16) return float_to_bf16(value);
  const float low = value < -kLargestHalf ? -kLargestHalf : value;
  return float_to_half(low > kLargestHalf ? kLargestHalf : low);
}
FATHOM_DEVICE float float_from_16_bits(uint16_t bits, DType dtype) {
  return dtype == DType::kBFloat16 ? bf16_to_float(bits) : half_to_float(bits);
}

FATHOM_DEVICE void store_float(void* data, DType dtype, int64_t index, float value) {
  if (dtype == DType::kFloat32) {
    static_cast<float*>(data)[index] = value;
  } else {
    static_cast<uint16_t*>(data)[index] = float_to_16_bits(value, dtype);
  }
}

FATHOM_DEVICE float round_activation(float value, ActivationRounding rounding) {
  if (rounding == ActivationRounding::kBFloat16) return bf16_to_float(float_to_bf16(value));
  if (rounding == ActivationRounding::kNone) return value;
  if (magnitude(value) < kLargestHalf) return half_to_float(float_to_half(value));
  const uint32_t bits = float_to_bits(value);
  if (!is_finite(value)) return value;
  return bits_to_float((bits + 0xfffu + ((bits >> 13) & 1u)) & ~0x1fffu);
}

// What a row's values are multiplied by before they are rounded to integers; 0: all of them become 0.
FATHOM_DEVICE float inverse_scale(float largest, float limit) {
  const float inverse = largest > 0 ? limit / largest : 0.0f;
  return is_finite(inverse) ? inverse : 0.0f;
}

// An int8 cache row's parts may lie at odd addresses.
FATHOM_DEVICE float latent_scale(const LatentCacheView& cache, const unsigned char* row) {
  const unsigned char* at = row + cache.latent_dim + 2 * cache.rope_dim;
  return bits_to_float(static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 8 |
                       static_cast<uint32_t>(at[2]) << 16 | static_cast<uint32_t>(at[3]) << 24);
}

// Element i of a cache row: the latent, then the rotated key.
FATHOM_DEVICE float load_cached(const LatentCacheView& cache, const unsigned char* row, int64_t i) {
  if (cache.dtype != DType::kInt8) return load_float(row, cache.dtype, i);
  if (i < cache.latent_dim) return static_cast<float>(static_cast<int8_t>(row[i])) * latent_scale(cache, row);
  const unsigned char* at = row + cache.latent_dim + 2 * (i - cache.latent_dim);
  return float_from_16_bits(static_cast<uint16_t>(at[0] | at[1] << 8), cache.rope_dtype);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
