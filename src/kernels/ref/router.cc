#include "kernels/ref/kernels.h"
#include "kernels/ref/numbers.h"

namespace fathom::kernels::ref {
namespace {

void softmax(const float* logits, float* scores, int64_t count) {
  const float largest = *std::max_element(logits, logits + count);
  double sum = 0;
  for (int64_t e = 0; e < count; ++e) sum += scores[e] = std::exp(logits[e] - largest);
  for (int64_t e = 0; e < count; ++e) scores[e] = static_cast<float>(scores[e] / sum);
}

// The largest of values[0, count), the first of equal ones.
int64_t arg_max(const float* values, int64_t count) {
  return std::max_element(values, values + count) - values;
}

// Keeps the topk_group groups with the largest best score: the scores of the others become 0, which no
// softmax value is unless it underflowed.
void keep_best_groups(const RouterParams& p, float* scores, float* group_scores) {
  const int64_t group_size = p.num_experts / p.n_group;
  for (int64_t g = 0; g < p.n_group; ++g) {
    group_scores[g] = *std::max_element(scores + g * group_size, scores + (g + 1) * group_size);
  }
  for (int64_t kept = 0; kept < p.topk_group; ++kept) group_scores[arg_max(group_scores, p.n_group)] = -1;
  for (int64_t e = 0; e < p.num_experts; ++e) {
    if (group_scores[e / group_size] >= 0) scores[e] = 0;
  }
}

}  // namespace

void router(const RouterParams& p) {
  for (int64_t t = p.begin; t < p.end; ++t) {
    float* scores = p.scratch;
    int32_t* ids = p.expert_ids + t * p.experts_per_token;
    float* weights = p.expert_weights + t * p.experts_per_token;
    softmax(p.logits + t * p.num_experts, scores, p.num_experts);
    if (p.topk_group < p.n_group) keep_best_groups(p, scores, p.scratch + p.num_experts);
    double sum = 0;
    for (int64_t k = 0; k < p.experts_per_token; ++k) {
      const int64_t best = arg_max(scores, p.num_experts);
      ids[k] = static_cast<int32_t>(best);
      sum += weights[k] = scores[best];
      scores[best] = -1;
    }
    for (int64_t k = 0; k < p.experts_per_token; ++k) {
      weights[k] = p.weights == RouterParams::Weights::kNormalized
                       ? static_cast<float>(weights[k] / (sum + 1e-20))
                       : weights[k] * p.scaling;
    }
    // Ascending ids: the order in which expert outputs are summed.
    for (int64_t k = 1; k < p.experts_per_token; ++k) {
      for (int64_t i = k; i > 0 && ids[i - 1] > ids[i]; --i) {
        std::swap(ids[i - 1], ids[i]);
        std::swap(weights[i - 1], weights[i]);
      }
    }
  }
}

}  // namespace fathom::kernels::ref
