// The entries of the CUDA kernels. Each launches on a stream and returns the launch's cudaError_t, 0 for
// success; nothing waits. What they compute is in kernels/params.h and kernels/cuda/params.h.
#pragma once

#include "kernels/cuda/hopper_plan.h"
#include "kernels/cuda/params.h"

// The same list in two namespaces: for the device (objects made by nvcc), and for the emulation in tests.
#define FATHOM_CUDA_ENTRIES                                                                      \
  int prepare(const cuda::PrepareBatchParams& p, void* stream);                                  \
  int linear(const cuda::LinearBatchParams& p, void* stream);                                    \
  int linear_hopper(const cuda::LinearBatchParams& p, void* stream);                             \
  int linear_hopper_tile(const cuda::LinearBatchParams& p, cuda::HopperTile tile, void* stream); \
  int rope_query(const RopeQueryParams& p, void* stream);                                        \
  int store_latent(const StoreLatentParams& p, void* stream);                                    \
  int absorbed_attention(const cuda::AbsorbedBatchParams& p, void* stream);                      \
  int merge_splits(const cuda::MergeBatchParams& p, void* stream);                               \
  int gather_latents(const cuda::GatherLatentsParams& p, void* stream);                          \
  int expanded_attention(const cuda::ExpandedBatchParams& p, void* stream);                      \
  int router(const RouterParams& p, void* stream);                                               \
  int plan_experts(const cuda::ExpertPlanParams& p, void* stream);                               \
  int combine_experts(const cuda::CombineParams& p, void* stream);                               \
  int embed(const cuda::EmbedParams& p, void* stream);                                           \
  int gather_rows(const cuda::GatherParams& p, void* stream);                                    \
  int clear_or_add(const cuda::ElementsParams& p, void* stream);                                 \
  int logit_rows(const cuda::LogitRowsParams& p, void* stream);                                  \
  int sum_ranks(const cuda::SumRanksParams& p, void* stream);

namespace fathom::kernels::cuda_device {
FATHOM_CUDA_ENTRIES
}
namespace fathom::kernels::cuda_emulated {
FATHOM_CUDA_ENTRIES
}
#undef FATHOM_CUDA_ENTRIES
