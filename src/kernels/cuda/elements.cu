// Element by element: embedding, gathering rows, clearing and adding. A thread an element.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/numbers.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

constexpr int kThreads = 256;

FATHOM_DEVICE int64_t element_index() { return block_x() * kThreads + thread_index(); }

FATHOM_KERNEL(kThreads) embed_kernel(cuda::EmbedParams p) {
  begin_kernel();
  const int64_t index = element_index();
  if (index >= p.num_tokens * p.cols) return;
  const int64_t row = p.token_ids[index / p.cols] - p.first_row;
  const bool present = row >= 0 && row < p.rows;
  p.out[index] = present ? load_float(p.table, p.dtype, row * p.cols + index % p.cols) : 0.0f;
}

FATHOM_KERNEL(kThreads) gather_kernel(cuda::GatherParams p) {
  begin_kernel();
  const int64_t index = element_index();
  if (index >= p.num_rows * p.width) return;
  const int64_t i = index / p.width;
  const int64_t row = p.rows != nullptr ? p.rows[i] : i;
  p.to[i * p.to_stride + index % p.width] = p.from[row * p.from_stride + index % p.width];
}

FATHOM_KERNEL(kThreads) elements_kernel(cuda::ElementsParams p) {
  begin_kernel();
  const int64_t index = element_index();
  if (index >= p.count) return;
  if (p.y == nullptr) {
    p.x[index] = 0;
  } else {
    p.y[index] += p.x[index];
  }
}

LaunchShape shape_of(int64_t count, void* stream) {
  return {.blocks_x = (count + kThreads - 1) / kThreads, .threads = kThreads, .stream = stream};
}

}  // namespace

int embed(const cuda::EmbedParams& p, void* stream) {
  return launch(embed_kernel, shape_of(p.num_tokens * p.cols, stream), p);
}
int gather_rows(const cuda::GatherParams& p, void* stream) {
  return launch(gather_kernel, shape_of(p.num_rows * p.width, stream), p);
}
int clear_or_add(const cuda::ElementsParams& p, void* stream) {
  return launch(elements_kernel, shape_of(p.count, stream), p);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
