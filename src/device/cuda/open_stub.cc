// Builds without a CUDA toolkit.
#include "device/cuda/cuda_device.h"

namespace fathom {

Result<CudaDevice> open_cuda_device(int) {
  return unsupported("--device cuda: this build has no CUDA; build where CMake finds the CUDA toolkit");
}

int count_cuda_devices() { return 0; }

}  // namespace fathom
