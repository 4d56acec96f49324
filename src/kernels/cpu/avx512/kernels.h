// Kernels for AVX-512 (F, BW, CD, DQ, VL, VNNI; linear_bf16 also BF16): sixteen lanes, one panel of outputs.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::avx512 {

void prepare(const PrepareParams& p);
// vpdpbusd on bytes with zero point 128; weight_sums take it out again.
void linear_int8(const LinearParams& p);
// The same sums from nibbles (few rows), or of panels expanded to int8.
void linear_int4(const LinearParams& p);
// vdpbf16ps: two products a lane and step, summed in the order of k.
void linear_bf16(const LinearParams& p);
// Weights float32, bf16 or fp16, decoded in registers.
void linear_float32(const LinearParams& p);

}  // namespace fathom::kernels::avx512
