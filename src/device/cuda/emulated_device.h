// The host's memory and the emulated kernels as a device, for tests: the library fathom_cuda_emulated_device.
#pragma once

#include "device/cuda/cuda_device.h"

namespace fathom {

// Memory is filled with 0xff, NaN in every float type.
CudaDevice emulated_device();

}  // namespace fathom
