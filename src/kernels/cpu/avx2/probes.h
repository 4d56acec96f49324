// Ceilings of AVX2 with FMA. Each compute probe runs `iterations` turns of a loop over registers and returns
// the operations done, two for each multiply-add.
#pragma once

#include "kernels/cpu/probes.h"

namespace fathom::kernels::avx2 {

void read_streams(const ReadParams& p);
// Signed bytes times signed bytes in the four instructions that AVX2 needs for it: vpsignb moves the weight's
// sign to the activation, then vpmaddubsw, vpmaddwd by ones and vpaddd.
double int8_dot_probe(int64_t iterations);
double float32_fma_probe(int64_t iterations);

}  // namespace fathom::kernels::avx2
