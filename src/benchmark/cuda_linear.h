// A product with a weight on a CUDA device, to be timed: rows and weights random, the weight in as many
// copies as leave none of it in the device's caches.
#pragma once

#include "benchmark/cuda_bench.h"
#include "benchmark/linear_shapes.h"
#include "kernels/cuda/params.h"

namespace fathom {

class CudaLinear {
 public:
  struct Sizes {
    int64_t outputs = 0;  // kSiluMul: of gate and of up
    int64_t inputs = 0;
    int64_t num_tokens = 0;
    // Weights of which each takes as many of the tokens (more than one: experts); divides num_tokens.
    int64_t num_groups = 1;
    kernels::LinearParams::Output output = kernels::LinearParams::Output::kStore;

    int64_t num_panels() const;  // of a weight
  };
  // Borrows the device and the pool, values of the format. More groups than there is room for share weights.
  // Failure: no room for one weight; no memory.
  static Result<CudaLinear> create(const CudaDevice& device, const DeviceBuffer& pool,
                                   const LinearFormat& format, const Sizes& sizes);

  // 0 or CUDA's error.
  int launch(int64_t call) const;

  double weight_bytes() const { return call_bytes_; }  // of one call, scales included
  double rotated_bytes() const { return rotated_bytes_; }
  double num_operations() const { return num_operations_; }

 private:
  explicit CudaLinear(const CudaDevice& device) : device_(&device) {}
  Status choose_weights(const DeviceBuffer& pool, const LinearFormat& format, const Sizes& sizes);
  Status make_rows(const LinearFormat& format, const Sizes& sizes);

  const CudaDevice* device_;
  DeviceBuffer scales_, x_, x_scales_, y_, y_weights_;
  std::vector<kernels::cuda::LinearGroup> weights_;  // [num_calls, num_groups], then from the front again
  DeviceBuffer groups_;                              // the same on the device
  int64_t num_groups_ = 1;
  double call_bytes_ = 0;
  double rotated_bytes_ = 0;
  double num_operations_ = 0;
  kernels::cuda::LinearBatchParams params_;
};

}  // namespace fathom
