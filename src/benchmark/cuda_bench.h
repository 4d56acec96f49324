// What the benches of a CUDA device share: its memory, and times of its work by events of its stream.
#pragma once

#include <cstdint>
#include <vector>

#include "base/function_ref.h"
#include "benchmark/kernel_bench.h"
#include "device/backend.h"
#include "device/cuda/cuda_device.h"

namespace fathom {

// Of the device's memory 1/share: what measurements go through. Of the emulated one, whose times mean
// nothing, little.
int64_t memory_share(const CudaDevice& device, uint64_t share);

// Uninitialised, 256-byte aligned. Lives no longer than the process's device.
Result<DeviceBuffer> cuda_memory(const CudaDevice& device, int64_t bytes);
// With random values of dtype (benchmark/random_memory.h).
Result<DeviceBuffer> random_cuda_memory(const CudaDevice& device, int64_t bytes, DType dtype);
Result<DeviceBuffer> upload_to_cuda(const CudaDevice& device, const void* host, int64_t bytes);
template <typename T>
Result<DeviceBuffer> upload_to_cuda(const CudaDevice& device, const std::vector<T>& values) {
  return upload_to_cuda(device, values.data(), static_cast<int64_t>(values.size() * sizeof(T)));
}

// Seconds of single passes: one that warms up and is not counted, then at least three, for about `seconds`.
// Failure: the pass's own, and what the device says when it is waited for.
Result<std::vector<double>> time_passes(const CudaDevice& device, double seconds, FunctionRef<Status()> pass);

// One call of launches, which give 0 or CUDA's error, numbered from 0. Calls are recorded as a graph, as the
// steps of a model are, so that what a single launch takes on the host is no part of it.
Result<CallTime> time_launches(const CudaDevice& device, double seconds,
                               FunctionRef<int(int64_t call)> launch);

}  // namespace fathom
