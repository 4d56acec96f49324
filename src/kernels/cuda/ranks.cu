// The sum of what several ranks have, in the order of parallel/sum_tree.h. A thread an element, which reads
// every rank's value before it writes the sum, so that the sum may be written over one of them.
//
// Bytes: 4 (N + 1) an element, all coalesced, and N - 1 additions. A hidden state of 2,048 rows of 5,120 from
// 8 ranks takes 380 MB, 79 us at 4.8 TB/s; cut into shares, as longer sums are, each GPU takes an eighth of
// it.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/numbers.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

constexpr int kThreads = 256;
// A branch of eight leaves, and a tree of eight such: the loops below unroll, and values stay in registers.
constexpr int kBranch = 8;
static_assert(kBranch * kBranch == cuda::kMaxSummedRanks);

// The tree over the first `count` of the values, count >= 1: those of a step's pairs that are there are
// added, then their sums likewise.
FATHOM_DEVICE float sum_branch(float (&values)[kBranch], int count) {
  for (int step = 1; step < kBranch; step *= 2)
    for (int i = 0; i + step < kBranch; i += 2 * step)
      if (i + step < count) values[i] += values[i + step];
  return values[0];
}

FATHOM_KERNEL(kThreads) sum_kernel(cuda::SumRanksParams p) {
  begin_kernel();
  const int64_t index = block_x() * kThreads + thread_index();
  if (index >= p.count) return;
  const int num_ranks = static_cast<int>(p.num_ranks);
  float branches[kBranch] = {};
  for (int b = 0; b < kBranch; ++b) {
    const int first = b * kBranch;
    if (first >= num_ranks) continue;
    float values[kBranch] = {};
    for (int i = 0; i < kBranch; ++i) {
      const int rank = first + i;
      if (rank < num_ranks)
        values[i] = rank == p.own_rank ? p.own[index] : p.others[rank * p.others_stride + index];
    }
    branches[b] = sum_branch(values, num_ranks - first);
  }
  p.sum[index] = sum_branch(branches, (num_ranks + kBranch - 1) / kBranch);
}

}  // namespace

int sum_ranks(const cuda::SumRanksParams& p, void* stream) {
  return launch(sum_kernel,
                {.blocks_x = (p.count + kThreads - 1) / kThreads, .threads = kThreads, .stream = stream}, p);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
