// Ceilings of AVX2 with FMA. Each compute probe runs `iterations` turns of a loop over registers and returns
// the operations done, two for each multiply-add.
#pragma once

#include "kernels/cpu/probes.h"

namespace fathom::kernels::avx2 {

void read_streams(const ReadParams& p);
// Signed bytes times signed bytes as linear_int8.cc multiplies them, as 16-bit integers: weights widened by
// shifts once for six rows, then vpmaddwd and vpaddd.
double int8_madd_probe(int64_t iterations);
double float32_fma_probe(int64_t iterations);

}  // namespace fathom::kernels::avx2
