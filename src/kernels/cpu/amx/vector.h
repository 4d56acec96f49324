// Sixteen-lane helpers of the AMX kernels. Everything is static: no copy of these functions may be shared
// with code for another instruction set.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/avx512/words.h"

namespace fathom::kernels::FATHOM_AMX_NAMESPACE {

using avx512::exp_lanes;
using avx512::first_lanes;
using avx512::round_lanes;
using avx512::silu_mul_lanes;
using avx512::transpose;

// A mask of the first count lanes; count may be negative or beyond the last lane.
static inline __mmask32 first_lanes32(int64_t count) {
  return static_cast<__mmask32>(count >= 32 ? 0xffffffffu : count <= 0 ? 0u : (1u << count) - 1u);
}

// 32 floats to bf16, to nearest even, subnormal numbers to zero: low fills the lower half.
static inline __m512i to_bf16(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

static inline __m256i to_bf16(__m512 x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }

// Lane i of the result holds bf16 of even[i], then of odd[i].
static inline __m512i to_bf16_pairs(__m512 even, __m512 odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                         22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, to_bf16(even, odd));
}

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE
