// Kernels for AVX2 with FMA and F16C: eight float lanes, weights decoded in registers.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::avx2 {

// Bytes: num_outputs * num_inputs weight elements once per kTokenTile tokens. One accumulator per output,
// filled in the order of k, so that a token's result does not depend on its neighbours.
void linear(const LinearParams& p);
void transposed_linear(const TransposedLinearParams& p);
void absorbed_attention(const AbsorbedAttentionParams& p);
void expanded_attention(const ExpandedAttentionParams& p);
void silu_mul(const SiluMulParams& p);

}  // namespace fathom::kernels::avx2
