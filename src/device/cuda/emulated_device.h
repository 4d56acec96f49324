// The host's memory and the emulated kernels as a device, for tests: the library fathom_cuda_emulated_device.
#pragma once

#include "device/cuda/cuda_device.h"

namespace fathom {

// Memory is filled with 0xff, NaN in every float type.
CudaDevice emulated_device();

// What open_cuda_device() finds. A test changes it before anything is opened.
struct EmulatedMachine {
  int num_devices = 1;
  Result<Nccl> (*open_nccl)() = [] { return Result<Nccl>(unsupported("emulated devices have no NCCL")); };
};
EmulatedMachine& emulated_machine();

}  // namespace fathom
