// Where the AMX kernels hand work to the AVX-512 ones: few rows of int8 weights, and attention whose products
// are not bf16's.
#pragma once

#include <stdint.h>

#include "kernels/cpu/avx512/attention.h"
#include "kernels/cpu/avx512/expand_int4.h"
#include "kernels/cpu/avx512/kernels.h"

namespace fathom::kernels {

namespace other_kernels = avx512;

// Int8 products of at most so many tokens go to vpdpbusd, with the same bits: a tile product costs 16 lines
// of weights whatever its rows, and vpdpbusd takes a line from memory for up to four rows with no detour
// through tiles.
inline constexpr int64_t kFewTokens = 4;

static inline void linear_int8_few_tokens(const LinearParams& p) { avx512::linear_int8(p); }
static inline void linear_int4_few_tokens(const LinearParams& p) { avx512::linear_int4(p); }

}  // namespace fathom::kernels
