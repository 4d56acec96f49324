// Absorbed attention in float32 products on the general cores, where absorbed.cu does not take the cache or
// the precision: a block a split and a head, so that keys are read once a head. A warp takes a key at a time
// for the scores, then every thread some elements of the weighted sum of latents, keys in order. And the
// merge of splits.
#include "kernels/cuda/absorbed.h"
#include "kernels/cuda/absorbed_plan.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/numbers.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpLanes;

struct Launched {
  cuda::AbsorbedBatchParams batch;
  int64_t row_bytes;  // of the cache
};

FATHOM_DEVICE float rounded(float value, AttentionPrecision precision) {
  if (precision == AttentionPrecision::kFloat32) return value;
  return round_activation(value, precision == AttentionPrecision::kBFloat16 ? ActivationRounding::kBFloat16
                                                                            : ActivationRounding::kFloat16);
}

FATHOM_DEVICE const unsigned char* cached_row(const Launched& launched, const cuda::SplitItem& item,
                                              int64_t key) {
  const LatentCacheView& cache = launched.batch.cache;
  const int64_t page = launched.batch.page_tables[item.page_table_start + key / cache.block_size];
  return static_cast<const unsigned char*>(cache.data) +
         (page * cache.block_size + key % cache.block_size) * launched.row_bytes;
}

FATHOM_KERNEL(kThreads) absorbed_kernel(Launched launched) {
  begin_kernel();
  const cuda::AbsorbedBatchParams& p = launched.batch;
  const LatentCacheView& cache = p.cache;
  const cuda::SplitItem item = p.items[block_x()];
  const int64_t row = block_y() / p.num_heads, head = block_y() % p.num_heads;
  const auto width = static_cast<int>(cache.latent_dim + cache.rope_dim);
  const auto end = static_cast<int>(item.last_position + 1 - (item.num_rows - 1 - row));
  const int num_keys = (end < item.key_end ? end : item.key_end) - item.key_begin;
  if (row >= item.num_rows || num_keys <= 0) return;
  const int t = thread_index();
  SharedMemory shared;
  const SharedArray<float> room = shared.take<float>(kReductionFloats);
  const SharedArray<float> weights = shared.take<float>(cuda::kMaxKeySplit);
  const SharedArray<float> q = shared.take<float>(width);

  const float* q_row = p.q + ((item.row + row) * p.num_heads + head) * width;
  for (int i = t; i < width; i += kThreads) q[i] = rounded(q_row[i], p.precision);
  sync_threads();
  for (int s = warp_index(); s < num_keys; s += kWarps) {
    const unsigned char* key = cached_row(launched, item, item.key_begin + s);
    float dot = 0;
    for (int i = lane_index(); i < width; i += kWarpLanes) dot += q[i] * load_cached(cache, key, i);
    dot = warp_sum(dot);
    if (lane_index() == 0) weights[s] = dot * p.scale;
  }
  sync_threads();

  float largest = weights[0];
  for (int s = t; s < num_keys; s += kThreads) largest = weights[s] > largest ? weights[s] : largest;
  largest = block_max(largest, room);
  const bool is_half = p.precision == AttentionPrecision::kFloat16 && cache.dtype != DType::kInt8;
  const AttentionPrecision weight_precision =
      is_half || p.precision == AttentionPrecision::kFloat32 ? p.precision : AttentionPrecision::kBFloat16;
  float sum = 0;
  for (int s = t; s < num_keys; s += kThreads) {
    const float weight = exponential(weights[s] - largest);
    sum += weight;
    weights[s] = rounded(weight, weight_precision);
  }
  sum = block_sum(sum, room);  // after its barriers every weight is in place

  const int64_t result = (item.first_result + row) * p.num_heads + head;
  if (t == 0) {
    p.max[result] = largest;
    p.sum[result] = sum;
  }
  for (int64_t i = t; i < cache.latent_dim; i += kThreads) {
    float out = 0;
    for (int s = 0; s < num_keys; ++s)
      out += weights[s] * load_cached(cache, cached_row(launched, item, item.key_begin + s), i);
    p.out[result * cache.latent_dim + i] = out;
  }
}

// Outputs of a thread at a time.
constexpr int kMergeOutputs = 4;

// A block a row and a head; splits in order of position. Bound by memory: every partial result is read once.
FATHOM_KERNEL(kThreads) merge_kernel(cuda::MergeBatchParams p) {
  begin_kernel();
  const int64_t row = block_x(), head = block_y();
  const cuda::SplitResults results = p.results[row];
  const auto place = [&](int split) { return (results.first + split * results.stride) * p.num_heads + head; };
  float largest = p.max[place(0)];
  for (int s = 1; s < results.count; ++s) {
    const float other = p.max[place(s)];
    largest = other > largest ? other : largest;
  }
  const int64_t line = row * p.num_heads + head;
  const int64_t width = p.y != nullptr ? p.latent_dim : p.bfloat16.padded;
  for (int64_t first = thread_index(); first < width; first += kThreads * kMergeOutputs) {
    float sum = 0;
    float out[kMergeOutputs] = {};
    for (int s = 0; s < results.count; ++s) {
      const float factor = exponential(p.max[place(s)] - largest);
      const float* partial = p.out + place(s) * p.latent_dim;
      sum += factor * p.sum[place(s)];
      FATHOM_UNROLL
      for (int i = 0; i < kMergeOutputs; ++i)
        if (first + i * kThreads < p.latent_dim) out[i] += factor * partial[first + i * kThreads];
    }
    FATHOM_UNROLL
    for (int i = 0; i < kMergeOutputs; ++i) {
      const int64_t at = first + i * kThreads;
      if (at >= width) continue;
      if (p.y != nullptr) {
        p.y[line * width + at] = out[i] / sum;
      } else {
        static_cast<uint16_t*>(p.bfloat16.data)[line * width + at] =
            at < p.latent_dim ? float_to_bf16(out[i] / sum) : uint16_t{0};
      }
    }
  }
}

}  // namespace

int absorbed_attention(const cuda::AbsorbedBatchParams& p, void* stream) {
  const LatentCacheView& cache = p.cache;
  if (cuda::takes_tensor_cores(cache, p.precision)) return multiply_absorbed(p, stream);
  const size_t floats =
      static_cast<size_t>(kReductionFloats + cuda::kMaxKeySplit + cache.latent_dim + cache.rope_dim);
  return launch(absorbed_kernel,
                {.blocks_x = p.num_items,
                 .blocks_y = p.num_heads * p.max_item_rows,
                 .threads = kThreads,
                 .shared_bytes = floats * sizeof(float),
                 .stream = stream},
                Launched{p, latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim)});
}

int merge_splits(const cuda::MergeBatchParams& p, void* stream) {
  return launch(merge_kernel,
                {.blocks_x = p.num_rows, .blocks_y = p.num_heads, .threads = kThreads, .stream = stream}, p);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
