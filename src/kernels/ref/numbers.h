// Element access and rounding shared by the scalar kernels.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/float16.h"
#include "kernels/params.h"

namespace fathom::kernels::ref {

inline float load_element(const void* data, DType dtype, int64_t index) {
  switch (dtype) {
    case DType::kBFloat16:
      return to_float(static_cast<const BFloat16*>(data)[index]);
    case DType::kFloat16:
      return to_float(static_cast<const Float16*>(data)[index]);
    default:
      return static_cast<const float*>(data)[index];
  }
}

inline void store_element(void* data, DType dtype, int64_t index, float value) {
  switch (dtype) {
    case DType::kBFloat16:
      static_cast<BFloat16*>(data)[index] = from_float<BFloat16>(value);
      return;
    case DType::kFloat16:
      static_cast<Float16*>(data)[index] = from_float<Float16>(std::clamp(value, -kFloat16Max, kFloat16Max));
      return;
    default:
      static_cast<float*>(data)[index] = value;
  }
}

// float16's 11 significant bits, ties to even, over float32's exponent range; below 2^-14 float16's fixed
// unit of 2^-24 applies, as in float16 itself.
inline float round_to_float16_precision(float value) {
  if (std::abs(value) < kFloat16Max) return to_float(from_float<Float16>(value));
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;  // infinity or NaN
  return std::bit_cast<float>((bits + 0xfffu + ((bits >> 13) & 1u)) & ~0x1fffu);
}

inline float round_activation(float value, ActivationRounding rounding) {
  switch (rounding) {
    case ActivationRounding::kBFloat16:
      return to_float(from_float<BFloat16>(value));
    case ActivationRounding::kFloat16:
      return round_to_float16_precision(value);
    default:
      return value;
  }
}

// Weight k of one output (panel * 16 + place in it) of packed int4: factor * q.
inline int32_t load_int4(const void* panels, int64_t cols, int64_t output, int64_t k) {
  const auto* block = static_cast<const unsigned char*>(panels) +
                      output / kPanelRows * panel_bytes(cols, PanelFormat::kInt4) +
                      k / kSuperblockInputs * kSuperblockBytes;
  const int64_t place = output % kPanelRows;
  const int64_t in_block = k % kSuperblockInputs;
  const int byte = block[(1 + in_block / 8) * kLineBytes + 4 * place + in_block % 4];
  const int q = (in_block % 8 < 4 ? byte % 16 : byte / 16) - 8;
  return block[in_block / kInt4GroupInputs * kPanelRows + place] * q;
}

// Weight k of one output of packed panels; of integers without the output's scale.
inline float load_packed(const void* panels, PanelFormat format, int64_t cols, int64_t output, int64_t k) {
  if (format == PanelFormat::kInt4) return static_cast<float>(load_int4(panels, cols, output, k));
  const int64_t group = line_inputs(format);
  const int64_t index = output / kPanelRows * kPanelRows * padded_inputs(cols, format) +
                        k / group * kPanelRows * group + output % kPanelRows * group + k % group;
  switch (format) {
    case PanelFormat::kInt8:
      return static_cast<const int8_t*>(panels)[index];
    case PanelFormat::kBFloat16:
      return load_element(panels, DType::kBFloat16, index);
    case PanelFormat::kFloat16:
      return load_element(panels, DType::kFloat16, index);
    default:
      return load_element(panels, DType::kFloat32, index);
  }
}

// The row of the cache that holds the token at this position of a sequence.
inline int64_t cache_row(const LatentCacheView& cache, const int32_t* page_table, int64_t position) {
  return static_cast<int64_t>(page_table[position / cache.block_size]) * cache.block_size +
         position % cache.block_size;
}

// Element i of a cache row: the latent, then the rotated key.
inline float load_cached(const LatentCacheView& cache, int64_t row, int64_t i) {
  const auto* bytes = static_cast<const unsigned char*>(cache.data) +
                      row * latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim);
  if (cache.dtype != DType::kInt8) return load_element(bytes, cache.dtype, i);
  if (i >= cache.latent_dim) {
    uint32_t bits = 0;  // rows of odd size leave it unaligned
    std::memcpy(&bits, bytes + cache.latent_dim + 2 * (i - cache.latent_dim), 2);
    return load_element(&bits, cache.rope_dtype, 0);
  }
  float scale;
  std::memcpy(&scale, bytes + cache.latent_dim + 2 * cache.rope_dim, sizeof(scale));
  return static_cast<float>(static_cast<int8_t>(bytes[i])) * scale;
}

// Writes one cache row from R + r floats.
inline void store_cached(const LatentCacheView& cache, int64_t row, const float* values) {
  const int64_t width = cache.latent_dim + cache.rope_dim;
  auto* bytes = static_cast<unsigned char*>(cache.data) +
                row * latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim);
  if (cache.dtype != DType::kInt8) {
    for (int64_t i = 0; i < width; ++i) store_element(bytes, cache.dtype, i, values[i]);
    return;
  }
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < cache.latent_dim; ++i) {
    finite = finite && std::isfinite(values[i]);
    largest = std::max(largest, std::abs(values[i]));
  }
  const float scale = finite ? largest / kInt8Limit : std::numeric_limits<float>::quiet_NaN();
  const float inverse = finite && largest > 0 ? kInt8Limit / largest : 0.0f;
  for (int64_t i = 0; i < cache.latent_dim; ++i) {
    const float q = inverse > 0 && std::isfinite(inverse) ? std::nearbyint(values[i] * inverse) : 0.0f;
    bytes[i] = static_cast<unsigned char>(static_cast<int8_t>(q));
  }
  for (int64_t i = 0; i < cache.rope_dim; ++i) {
    uint32_t bits = 0;
    store_element(&bits, cache.rope_dtype, 0, values[cache.latent_dim + i]);
    std::memcpy(bytes + cache.latent_dim + 2 * i, &bits, 2);
  }
  std::memcpy(bytes + cache.latent_dim + 2 * cache.rope_dim, &scale, sizeof(scale));
}

}  // namespace fathom::kernels::ref
