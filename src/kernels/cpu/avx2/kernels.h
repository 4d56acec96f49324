// Kernels for AVX2 with FMA and F16C: eight lanes, weights decoded in registers.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::avx2 {

void prepare(const PrepareParams& p);
void linear_float32(const LinearParams& p);  // form kFloat32; weights float32, bf16, fp16
void linear_int8(const LinearParams& p);     // forms kInt8, kInt8Pair with zero point 0
void linear_int4(const LinearParams& p);     // likewise
void rope_query(const RopeQueryParams& p);
void store_latent(const StoreLatentParams& p);
void absorbed_attention(const AbsorbedAttentionParams& p);
void merge_splits(const MergeSplitsParams& p);
void expanded_attention(const ExpandedAttentionParams& p);

}  // namespace fathom::kernels::avx2
