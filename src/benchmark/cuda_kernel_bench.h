// The same for a CUDA device as benchmark/kernel_bench.h for the CPU: kernels one by one on a model's shapes,
// each held against the device's copies and products of the same moment.
//
// Calls follow each other in a graph. Weights and caches rotate through pool_bytes of the device's memory.
// The experts of a step are one launch, over as many experts as its tokens may choose, each with its even
// share of them.
#pragma once

#include "benchmark/cuda_meter.h"
#include "benchmark/kernel_bench.h"

namespace fathom {

// isa and num_threads of the options are not read, small kernels have no rows. Failure: an option out of
// range, named; what the device says. progress may be null.
Result<KernelBenchReport> bench_cuda_kernels(const CudaDevice& device, const KernelBenchOptions& options,
                                             ProgressSink* progress);

}  // namespace fathom
