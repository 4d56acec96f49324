// The scalar kernels: the specification of every operation, the fallback where no instruction set applies,
// and half of every kernel test. Written for reading; sums are taken in double, in index order.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::ref {

void linear(const LinearParams& p);
void transposed_linear(const TransposedLinearParams& p);
void rms_norm(const RmsNormParams& p);
void rope_query(const RopeQueryParams& p);
void store_latent(const StoreLatentParams& p);
void absorbed_attention(const AbsorbedAttentionParams& p);
void expanded_attention(const ExpandedAttentionParams& p);
void router(const RouterParams& p);
void silu_mul(const SiluMulParams& p);
void round(const RoundParams& p);

}  // namespace fathom::kernels::ref
