// Ceilings of AVX-512 and of its dot-product extensions. Each compute probe runs `iterations` turns of a loop
// over registers and returns the operations done, two for each multiply-add.
#pragma once

#include "kernels/cpu/probes.h"

namespace fathom::kernels::avx512 {

void read_streams(const ReadParams& p);
double float32_fma_probe(int64_t iterations);
double int8_vnni_probe(int64_t iterations);     // vpdpbusd: needs VNNI
double bfloat16_dot_probe(int64_t iterations);  // vdpbf16ps: needs BF16

}  // namespace fathom::kernels::avx512
