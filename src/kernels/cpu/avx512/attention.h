// Attention for AVX-512 (F, BW, DQ, VL): sixteen float32 lanes. Products in AttentionPrecision::kBFloat16 are
// taken by vdpbf16ps and need a CPU with AVX512_BF16; kFloat32 needs none of its instructions.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::avx512 {

// Lanes are heads where scores are made and latents where they are summed.
//   Work of 16 heads and a key: 16 (2 R + r) products, 544 vdpbf16ps at R = 512, r = 64.
//   Bytes: R + r elements of cache a key, from memory once; the second product finds the block in L2.
void absorbed_attention(const AbsorbedAttentionParams& p);
void merge_splits(const MergeSplitsParams& p);

// Work: a block of 64 keys costs 64 (n + v) R products to expand and 64 (n + r + v) a token.
void expanded_attention(const ExpandedAttentionParams& p);

void rope_query(const RopeQueryParams& p);
void store_latent(const StoreLatentParams& p);

}  // namespace fathom::kernels::avx512
