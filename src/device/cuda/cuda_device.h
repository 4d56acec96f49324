// What CudaBackend needs of a device, as functions: memory, copies, graphs and the kernels of kernels/cuda.
// open_cuda_device() is defined three times, and a program links one of them (device/cuda/CMakeLists.txt):
// over the CUDA runtime, for builds without a toolkit, and over the emulated kernels for tests.
#pragma once

#include <array>
#include <string>

#include "base/status.h"
#include "device/cuda/nccl.h"
#include "kernels/cuda/params.h"

namespace fathom {

// The entries of kernels/cuda/kernels.h; each returns 0 or CUDA's error.
struct CudaKernels {
  int (*prepare)(const kernels::cuda::PrepareBatchParams&, void* stream);
  int (*linear)(const kernels::cuda::LinearBatchParams&, void* stream);
  int (*rope_query)(const kernels::RopeQueryParams&, void* stream);
  int (*store_latent)(const kernels::StoreLatentParams&, void* stream);
  int (*absorbed_attention)(const kernels::cuda::AbsorbedBatchParams&, void* stream);
  int (*merge_splits)(const kernels::cuda::MergeBatchParams&, void* stream);
  int (*gather_latents)(const kernels::cuda::GatherLatentsParams&, void* stream);
  int (*expanded_attention)(const kernels::cuda::ExpandedBatchParams&, void* stream);
  int (*router)(const kernels::RouterParams&, void* stream);
  int (*plan_experts)(const kernels::cuda::ExpertPlanParams&, void* stream);
  int (*combine_experts)(const kernels::cuda::CombineParams&, void* stream);
  int (*embed)(const kernels::cuda::EmbedParams&, void* stream);
  int (*gather_rows)(const kernels::cuda::GatherParams&, void* stream);
  int (*clear_or_add)(const kernels::cuda::ElementsParams&, void* stream);
  int (*logit_rows)(const kernels::cuda::LogitRowsParams&, void* stream);
  int (*sum_ranks)(const kernels::cuda::SumRanksParams&, void* stream);
};

// Launches that were recorded once and are sent as one.
struct CudaGraphs {
  // From here on what the stream is given is recorded and not carried out: launches only.
  Status (*begin_capture)(void* stream);
  // The graph of what was recorded, ready to be launched.
  Result<void*> (*end_capture)(void* stream);
  Status (*launch)(void* graph, void* stream);
  void (*release)(void* graph);
};

// Device time between two points of the stream, by events.
struct CudaTimer {
  Result<void*> (*start)(void* stream);
  // Waits for what the stream was given since; seconds. The timer is gone, whatever comes of it.
  Result<double> (*stop)(void* timer, void* stream);
};

// What is known of a device.
struct CudaDeviceFacts {
  std::string name;
  bool is_emulated = false;    // its memory and stream are nothing that CUDA knows
  int compute_capability = 0;  // 90 is 9.0
  int num_multiprocessors = 0;
  std::array<char, 16> uuid = {};  // no other device has it
  uint64_t total_bytes = 0;
};

// Copies take place in the order of the stream, after earlier launches. upload is complete at its return;
// upload_later and download_later are not: `host` is memory of allocate_host, which stays as it is, or is not
// there yet, until synchronize. Where `bytes` is 0, both pointers may be null.
struct CudaDevice {
  CudaDeviceFacts facts = {};
  Result<uint64_t> (*free_bytes)() = nullptr;         // of its memory
  Result<void*> (*allocate)(size_t bytes) = nullptr;  // kResourceExhausted where there is too little
  void (*release)(void* data, size_t bytes) = nullptr;
  Result<void*> (*allocate_host)(size_t bytes) = nullptr;  // that the device can read: pinned
  void (*release_host)(void* data, size_t bytes) = nullptr;
  Status (*upload)(const void* host, void* device, size_t bytes, void* stream) = nullptr;
  Status (*upload_later)(const void* host, void* device, size_t bytes, void* stream) = nullptr;
  Status (*download_later)(const void* device, void* host, size_t bytes, void* stream) = nullptr;
  Status (*copy)(const void* from, void* to, size_t bytes, void* stream) = nullptr;
  Status (*synchronize)(void* stream) = nullptr;
  Result<bool> (*is_idle)(void* stream) = nullptr;  // whether synchronize would return at once
  CudaGraphs graphs = {};
  CudaTimer timer = {};
  CudaKernels kernels = {};
  Result<Nccl> (*open_nccl)() = nullptr;
  void* stream = nullptr;
};

// Device `ordinal` of those that the process sees, with a stream of its own; a process opens one device.
// kUnsupported, saying why, where there is none.
Result<CudaDevice> open_cuda_device(int ordinal);
// 0 where there is none.
int count_cuda_devices();

}  // namespace fathom
