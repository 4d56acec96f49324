// Where the AMX kernels hand work to the AVX-512 ones: few rows of int4 weights, and attention whose products
// are not bf16's.
#pragma once

#include <stdint.h>

#include "kernels/cpu/avx512/attention.h"
#include "kernels/cpu/avx512/expand_int4.h"
#include "kernels/cpu/avx512/kernels.h"

namespace fathom::kernels {

namespace other_kernels = avx512;

// Int4 products of at most so many tokens go to vpdpbusd, with the same bits: it takes nibbles as they stream
// in, where tiles have to wait for panels to be expanded.
inline constexpr int64_t kFewTokens = 4;

static inline void linear_int4_few_tokens(const LinearParams& p) { avx512::linear_int4(p); }

}  // namespace fathom::kernels
