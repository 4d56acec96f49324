// Attention for AVX-512 (F, BW, DQ, VL): sixteen float32 lanes. Products in AttentionPrecision::kBFloat16 are
// taken by vdpbf16ps and need a CPU with AVX512_BF16; kFloat32 needs none of its instructions.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::avx512 {

// Shares below are of the rate of vdpbf16ps (kFloat32: of fused multiply-adds) on registers alone; one core
// of a Zen 4 EPYC, November 2026, R = 512, r = 64, n = v = 128, bf16 cache, best of many runs.

// Lanes are heads where scores are made and latents where they are summed.
//   Work of 16 heads and a key: 16 (2 R + r) products, 544 vdpbf16ps.
//   Bytes: R + r elements of cache a key, from memory once; the second product finds the block in L2.
//   Bound: products from 16 heads on. 256 keys, 16 heads: 86 %, 128 heads: 88 %, kFloat32: 82 %; int8 cache,
//   16 heads: 75 %; cache in memory, 16 heads: 69 %.
void absorbed_attention(const AbsorbedAttentionParams& p);
void merge_splits(const MergeSplitsParams& p);

// Work: a block of 64 keys costs 64 (n + v) R products to expand and 64 (n + r + v) a token.
//   Bytes: the head's part of kv_b_proj, queries and sums of every token, once a block.
//   Bound: products. 512 to 2048 tokens at positions 0 to 16384: 83 to 88 %, kFloat32: 90 to 92 %.
void expanded_attention(const ExpandedAttentionParams& p);

void rope_query(const RopeQueryParams& p);
void store_latent(const StoreLatentParams& p);

}  // namespace fathom::kernels::avx512
