// Where the AMX kernels hand work to others: few rows of int8 weights, and attention whose products are not
// bf16's.
#pragma once

#include <stdint.h>

#include "kernels/params.h"

// TODO(merge): include "kernels/cpu/avx512/kernels.h", let the calls below go to avx512::, and set
// kFewTokens.
namespace fathom::kernels::ref {

void absorbed_attention(const AbsorbedAttentionParams& p);
void expanded_attention(const ExpandedAttentionParams& p);

}  // namespace fathom::kernels::ref

namespace fathom::kernels {

namespace other_kernels = ref;

// Int8 products of at most so many tokens go to avx512::linear_int8 (the same bits): a tile product costs 16
// lines of weights whatever its rows, and vpdpbusd takes a line from memory for up to four rows with no
// detour through tiles. 0: none (TODO(merge): 4).
inline constexpr int64_t kFewTokens = 0;

static inline void linear_int8_few_tokens(const LinearParams&) {
  // TODO(merge): avx512::linear_int8(p);
}

}  // namespace fathom::kernels
