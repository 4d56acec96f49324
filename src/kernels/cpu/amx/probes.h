// Ceilings of AMX tiles. Each probe runs `iterations` turns of a loop over tiles that stay in registers and
// returns the operations done, two for each multiply-add. The process must have the kernel's permission
// (detect_cpu_features() asks for it).
#pragma once

#include "kernels/cpu/probes.h"

namespace fathom::kernels::amx {

double int8_tile_probe(int64_t iterations);      // tdpbssd
double bfloat16_tile_probe(int64_t iterations);  // tdpbf16ps

}  // namespace fathom::kernels::amx
