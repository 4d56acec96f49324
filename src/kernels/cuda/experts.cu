// The router (a warp a token), the order of its pairs by expert (one block), and the sum of the experts'
// outputs.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/numbers.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

constexpr int kRouterThreads = 128;
constexpr int kRouterWarps = kRouterThreads / kWarpLanes;
constexpr int kPlanThreads = 1024;
static_assert(kPlanThreads >= cuda::kMaxExperts);
constexpr int kCombineThreads = 256;

// A warp's part of the block's scores.
struct WarpScores {
  SharedArray<float> room;
  int first;
  FATHOM_DEVICE float& operator[](int64_t i) const { return room[first + static_cast<int>(i)]; }
};

// scores = softmax(logits); float32, lanes then the tree of warp_sum.
FATHOM_DEVICE void softmax(const float* logits, const WarpScores& scores, int64_t count) {
  float largest = logits[0];
  for (int64_t e = lane_index(); e < count; e += kWarpLanes)
    largest = logits[e] > largest ? logits[e] : largest;
  largest = warp_max(largest);
  float sum = 0;
  for (int64_t e = lane_index(); e < count; e += kWarpLanes)
    sum += scores[e] = exponential(logits[e] - largest);
  sum = warp_sum(sum);
  for (int64_t e = lane_index(); e < count; e += kWarpLanes) scores[e] = scores[e] / sum;
  sync_warp();
}

// The largest of scores [first, first + count), the first of equal ones and where all are NaN; the same in
// every lane.
FATHOM_DEVICE int arg_max(const WarpScores& scores, int64_t first, int64_t count) {
  float best = -2;
  int at = 0;
  for (int64_t i = lane_index(); i < count; i += kWarpLanes) {
    if (scores[first + i] > best) {
      best = scores[first + i];
      at = static_cast<int>(i);
    }
  }
  for (int step = kWarpLanes / 2; step > 0; step /= 2) {
    const float other = shuffle_xor(best, step);
    const int32_t other_at = shuffle_xor(static_cast<int32_t>(at), step);
    if (other > best || (other == best && other_at < at)) {
      best = other;
      at = other_at;
    }
  }
  return at;
}

// The scores of all but the best topk_group groups become 0. Group scores lie behind the experts'.
FATHOM_DEVICE void keep_best_groups(const RouterParams& p, const WarpScores& scores) {
  const int64_t size = p.num_experts / p.n_group;
  for (int64_t g = lane_index(); g < p.n_group; g += kWarpLanes) {
    float best = scores[g * size];
    for (int64_t i = 1; i < size; ++i) best = scores[g * size + i] > best ? scores[g * size + i] : best;
    scores[p.num_experts + g] = best;
  }
  sync_warp();
  for (int64_t kept = 0; kept < p.topk_group; ++kept) {
    const int best = arg_max(scores, p.num_experts, p.n_group);
    sync_warp();
    if (lane_index() == 0) scores[p.num_experts + best] = -1;
    sync_warp();
  }
  for (int64_t e = lane_index(); e < p.num_experts; e += kWarpLanes)
    if (scores[p.num_experts + e / size] >= 0) scores[e] = 0;
  sync_warp();
}

// Ascending ids: the order in which the experts' outputs are summed.
FATHOM_DEVICE void sort_choice(int32_t* ids, float* weights, int64_t count) {
  for (int64_t k = 1; k < count; ++k) {
    for (int64_t i = k; i > 0 && ids[i - 1] > ids[i]; --i) {
      const int32_t id = ids[i];
      const float weight = weights[i];
      ids[i] = ids[i - 1];
      weights[i] = weights[i - 1];
      ids[i - 1] = id;
      weights[i - 1] = weight;
    }
  }
}

FATHOM_KERNEL(kRouterThreads) router_kernel(RouterParams p) {
  begin_kernel();
  SharedMemory shared;
  const auto floats_per_warp = static_cast<int>(p.num_experts + p.n_group);
  const SharedArray<float> room = shared.take<float>(kRouterWarps * floats_per_warp);
  const int64_t t = block_x() * kRouterWarps + warp_index();
  if (t >= p.end) return;  // the whole warp
  const WarpScores scores{room, warp_index() * floats_per_warp};
  int32_t* ids = p.expert_ids + t * p.experts_per_token;
  float* weights = p.expert_weights + t * p.experts_per_token;
  softmax(p.logits + t * p.num_experts, scores, p.num_experts);
  if (p.topk_group < p.n_group) keep_best_groups(p, scores);
  float sum = 0;
  for (int64_t k = 0; k < p.experts_per_token; ++k) {
    const int best = arg_max(scores, 0, p.num_experts);
    sync_warp();
    if (lane_index() == 0) {
      ids[k] = best;
      sum += weights[k] = scores[best];
      scores[best] = -1;
    }
    sync_warp();
  }
  if (lane_index() != 0) return;
  for (int64_t k = 0; k < p.experts_per_token; ++k)
    weights[k] = p.weights == RouterParams::Weights::kNormalized ? weights[k] / (sum + 1e-20f)
                                                                 : weights[k] * p.scaling;
  sort_choice(ids, weights, p.experts_per_token);
}

// Pairs are cut into segments; a thread counts, then places, one expert's pairs of one segment: no atomics,
// and the order is that of the tokens. A warp's lanes read the same id at a time, 2 T K E / 1024 of them.
struct PlanThread {
  int32_t expert;  // those from num_experts on have no pairs
  int slots;       // experts rounded up to whole warps
  int segment;
  int num_segments;
  int64_t begin, end;  // pairs
};

FATHOM_DEVICE PlanThread plan_thread(const cuda::ExpertPlanParams& p) {
  const int slots = (static_cast<int>(p.num_experts) + kWarpLanes - 1) / kWarpLanes * kWarpLanes;
  const int num_segments = kPlanThreads / slots;
  const int segment = thread_index() / slots;
  const int64_t num_pairs = p.num_tokens * p.experts_per_token;
  const int64_t length = (num_pairs + num_segments - 1) / num_segments;
  const int64_t begin = segment * length;
  const int64_t end = begin + length < num_pairs ? begin + length : num_pairs;
  return {thread_index() % slots, slots, segment, num_segments, begin, end};
}

// Pairs and tiles of all experts before one.
struct ExpertPlace {
  int32_t pairs = 0;
  int32_t tiles = 0;
};

FATHOM_DEVICE ExpertPlace place_of_expert(const SharedArray<int32_t>& pairs,
                                          const SharedArray<int32_t>& tiles, int expert) {
  ExpertPlace place;
  for (int e = 0; e < expert; ++e) {
    place.pairs += pairs[e];
    place.tiles += tiles[e];
  }
  return place;
}

// Writes the tiles of an expert's pairs [first, first + count) and returns their end.
FATHOM_DEVICE cuda::LinearTile* write_tiles(cuda::LinearTile* tile, int32_t expert, int32_t first,
                                            int32_t count, int32_t tile_tokens) {
  for (int32_t done = 0; done < count; done += tile_tokens)
    *tile++ = {expert, first + done, count - done < tile_tokens ? count - done : tile_tokens};
  return tile;
}

FATHOM_KERNEL(kPlanThreads) plan_kernel(cuda::ExpertPlanParams p) {
  begin_kernel();
  SharedMemory shared;
  const SharedArray<int32_t> counts = shared.take<int32_t>(kPlanThreads);  // [segments, slots]
  const SharedArray<int32_t> pairs = shared.take<int32_t>(kPlanThreads);   // [slots]
  const SharedArray<int32_t> tiles = shared.take<int32_t>(kPlanThreads);   // [slots]
  const PlanThread own = plan_thread(p);
  const auto tile_tokens = static_cast<int32_t>(p.tile_tokens);
  int32_t count = 0;
  for (int64_t i = own.begin; i < own.end; ++i) count += p.expert_ids[i] == own.expert;
  counts[thread_index()] = count;
  sync_threads();
  if (own.segment == 0) {
    int32_t total = 0;
    for (int s = 0; s < own.num_segments; ++s) total += counts[s * own.slots + own.expert];
    pairs[own.expert] = total;
    tiles[own.expert] = (total + tile_tokens - 1) / tile_tokens;
  }
  sync_threads();
  const ExpertPlace place = place_of_expert(pairs, tiles, own.expert);
  if (own.segment == 0) {
    cuda::LinearTile* end =
        write_tiles(p.tiles + place.tiles, own.expert, place.pairs, pairs[own.expert], tile_tokens);
    if (own.expert + 1 == own.slots)
      for (; end < p.tiles + p.num_tiles; ++end) *end = {};
  }
  int32_t next = place.pairs;
  for (int s = 0; s < own.segment; ++s) next += counts[s * own.slots + own.expert];
  for (int64_t i = own.begin; i < own.end; ++i) {
    if (p.expert_ids[i] != own.expert) continue;
    p.tokens[next] = static_cast<int32_t>(i / p.experts_per_token);
    p.places[i] = next++;
  }
}

FATHOM_KERNEL(kCombineThreads) combine_kernel(cuda::CombineParams p) {
  begin_kernel();
  const int64_t index = block_x() * kCombineThreads + thread_index();
  if (index >= p.num_tokens * p.width) return;
  const int64_t t = index / p.width;
  const int64_t column = index % p.width;
  float y = p.y[index];
  for (int64_t k = 0; k < p.experts_per_token; ++k) {
    const int64_t pair = t * p.experts_per_token + k;
    if (p.groups[p.expert_ids[pair]].panels == nullptr) continue;
    const float weighted = p.expert_weights[pair] * p.outputs[p.places[pair] * p.width + column];
    y += weighted;
  }
  p.y[index] = y;
}

}  // namespace

int router(const RouterParams& p, void* stream) {
  return launch(
      router_kernel,
      {.blocks_x = (p.end + kRouterWarps - 1) / kRouterWarps,
       .threads = kRouterThreads,
       .shared_bytes = static_cast<size_t>(kRouterWarps * (p.num_experts + p.n_group)) * sizeof(float),
       .stream = stream},
      p);
}

int plan_experts(const cuda::ExpertPlanParams& p, void* stream) {
  return launch(
      plan_kernel,
      {.threads = kPlanThreads, .shared_bytes = 3 * kPlanThreads * sizeof(int32_t), .stream = stream}, p);
}

int combine_experts(const cuda::CombineParams& p, void* stream) {
  const int64_t count = p.num_tokens * p.width;
  return launch(combine_kernel,
                {.blocks_x = (count + kCombineThreads - 1) / kCombineThreads,
                 .threads = kCombineThreads,
                 .stream = stream},
                p);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
