// Absorbed attention on tensor cores, for what takes_tensor_cores() (absorbed_plan.h) allows. Called by
// absorbed_attention() only.
#pragma once

#include "kernels/cuda/params.h"

namespace fathom::kernels::cuda_device {
int multiply_absorbed(const cuda::AbsorbedBatchParams& p, void* stream);
}
namespace fathom::kernels::cuda_emulated {
int multiply_absorbed(const cuda::AbsorbedBatchParams& p, void* stream);
}
