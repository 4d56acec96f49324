// What CudaBackend needs of a device, as functions: memory, copies and the kernels of kernels/cuda. The
// emulated device of the tests is emulated_device.h.
#pragma once

#include "base/status.h"
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
  int (*router)(const kernels::RouterParams&, void* stream);
  int (*plan_experts)(const kernels::cuda::ExpertPlanParams&, void* stream);
  int (*combine_experts)(const kernels::cuda::CombineParams&, void* stream);
  int (*embed)(const kernels::cuda::EmbedParams&, void* stream);
  int (*gather_rows)(const kernels::cuda::GatherParams&, void* stream);
  int (*clear_or_add)(const kernels::cuda::ElementsParams&, void* stream);
};

// Copies take place in the order of the stream, after earlier launches; those from and to the host are
// complete at the return.
struct CudaDevice {
  Result<void*> (*allocate)(size_t bytes) = nullptr;  // kResourceExhausted where there is too little
  void (*release)(void* data, size_t bytes) = nullptr;
  Status (*upload)(const void* host, void* device, size_t bytes, void* stream) = nullptr;
  Status (*download)(const void* device, void* host, size_t bytes, void* stream) = nullptr;
  Status (*copy)(const void* from, void* to, size_t bytes, void* stream) = nullptr;
  CudaKernels kernels = {};
  void* stream = nullptr;
};

}  // namespace fathom
