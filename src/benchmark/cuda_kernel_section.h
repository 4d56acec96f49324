// What the benches of a CUDA device's kernels share.
#pragma once

#include <string>
#include <vector>

#include "benchmark/cuda_meter.h"
#include "benchmark/kernel_section.h"

namespace fathom {

// Borrowed by all.
struct CudaKernelBench {
  const CudaDevice& device;
  const KernelBenchOptions& options;
  CudaMeter& meter;
  int64_t pool_bytes = 0;  // of the device's memory, for weights or a cache
  ProgressSink* progress = nullptr;
};

// A section under way: the device is measured when it begins and when it is finished.
class CudaSection {
 public:
  static Result<CudaSection> begin(const CudaKernelBench& bench, SectionPlan plan);

  // Times calls of launches and adds the row, of which everything but time and roof is set.
  Status add(KernelRow row, FunctionRef<int(int64_t call)> launch);
  Result<KernelSection> finish();

 private:
  CudaSection(const CudaKernelBench& bench, SectionPlan plan);

  const CudaKernelBench& bench_;
  SectionPlan plan_;
  MomentOptions moment_options_;
  KernelSection section_;
};

// cuda_attention_bench.cc: one token of each of some sequences, a section per format of the cache.
Result<std::vector<KernelSection>> bench_cuda_attention(const CudaKernelBench& bench);

}  // namespace fathom
