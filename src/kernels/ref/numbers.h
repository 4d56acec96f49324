// Element access and rounding shared by the scalar kernels.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>

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

// The row of the cache that holds the token at this position of a sequence.
inline int64_t cache_row(const LatentCacheView& cache, const int32_t* page_table, int64_t position) {
  return static_cast<int64_t>(page_table[position / cache.block_size]) * cache.block_size +
         position % cache.block_size;
}

}  // namespace fathom::kernels::ref
