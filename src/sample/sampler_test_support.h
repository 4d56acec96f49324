// The sampler's definition written for reading, and random cases of it: what its tests compare with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/exact_exp.h"
#include "base/random.h"
#include "sample/sampler.h"

namespace fathom::testing {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The header's definition written for reading: a full sort, a map of counts, everything copied.
struct Reference {
  std::vector<int32_t> ids;     // kept, in order of id
  std::vector<double> weights;  // of ids
  int32_t greedy = 0;
};

inline std::vector<float> reference_penalties(const SampleInput& input, const SamplingParams& params) {
  std::vector<float> logits(input.logits.begin(), input.logits.end());
  const double largest = std::numeric_limits<float>::max();
  for (size_t id = 0; id < logits.size(); ++id) {
    if (!input.allowed.empty() &&
        (id / 32 >= input.allowed.size() || (input.allowed[id / 32] >> (id % 32) & 1) == 0)) {
      logits[id] = -kInfinity;
    }
    const auto count = std::count(input.generated_tokens.begin(), input.generated_tokens.end(), id);
    const auto in_prompt = std::count(input.prompt_tokens.begin(), input.prompt_tokens.end(), id);
    if (std::isinf(logits[id]) || count + in_prompt == 0) continue;
    double x = logits[id];
    x = x > 0 ? x / params.repetition_penalty : x * params.repetition_penalty;
    if (count > 0) x -= params.frequency_penalty * static_cast<double>(count) + params.presence_penalty;
    logits[id] = static_cast<float>(std::min(std::max(x, -largest), largest));
  }
  for (const LogitBias& entry : params.logit_bias) {
    const auto id = static_cast<size_t>(entry.token_id);
    if (id >= logits.size() || std::isinf(logits[id])) continue;
    logits[id] = static_cast<float>(std::min(std::max(logits[id] + entry.bias, -largest), largest));
  }
  for (int32_t id : input.banned_tokens) {
    if (static_cast<size_t>(id) < logits.size()) logits[static_cast<size_t>(id)] = -kInfinity;
  }
  return logits;
}

// The running sum behind each weight: blocks of 32 ids, groups of 32 blocks, each summed in order.
inline std::vector<double> running_sums(const std::vector<int32_t>& ids, const std::vector<double>& weights) {
  std::vector<double> sums;
  double groups = 0, blocks = 0, block = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const int32_t before = i == 0 ? ids[0] : ids[i - 1];
    if (ids[i] / 32 != before / 32) {
      blocks += block;
      block = 0;
    }
    if (ids[i] / 1024 != before / 1024) {
      groups += blocks;
      blocks = 0;
    }
    block += weights[i];
    sums.push_back(groups + (blocks + block));
  }
  return sums;
}

inline Reference reference_sample(const SampleInput& input, const SamplingParams& params) {
  const std::vector<float> logits = reference_penalties(input, params);
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  Reference reference;
  reference.greedy = order[0];
  if (params.is_greedy()) return reference;
  std::vector<double> weight(logits.size());
  const double max_logit = logits[order[0]];
  for (size_t i = 0; i < logits.size(); ++i)
    weight[i] = exact_exp((logits[i] - max_logit) * (1 / params.temperature));
  std::erase_if(order, [&](int32_t id) { return logits[id] == -kInfinity || weight[id] < params.min_p; });
  if (params.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(params.top_k)));
  if (params.top_p < 1) {
    std::vector<int32_t> by_id = order;
    std::sort(by_id.begin(), by_id.end());
    std::vector<double> by_id_weights;
    for (int32_t id : by_id) by_id_weights.push_back(weight[id]);
    const double total = running_sums(by_id, by_id_weights).back();
    double sum = 0;
    size_t num_kept = 0;
    do {
      sum += weight[order[num_kept++]];
    } while (num_kept < order.size() && sum < params.top_p * total);
    order.resize(num_kept);
  }
  std::sort(order.begin(), order.end());
  reference.ids = order;
  for (int32_t id : order) reference.weights.push_back(weight[id]);
  return reference;
}

inline int32_t reference_draw(const Reference& reference, double u) {
  const std::vector<double> sums = running_sums(reference.ids, reference.weights);
  const auto drawn = std::upper_bound(sums.begin(), sums.end(), u * sums.back());
  return drawn == sums.end() ? -1 : reference.ids[static_cast<size_t>(drawn - sums.begin())];
}

inline int32_t sample_id(const SampleInput& input, const SamplingParams& params) {
  SamplerWorkspace workspace;
  const Result<SampledToken> token = sample(input, params, workspace);
  EXPECT_TRUE(token.ok()) << token.status().message();
  return token.ok() ? token->id : -1;
}

inline std::vector<int32_t> kept_ids(const SampleInput& input, const SamplingParams& params) {
  SamplerWorkspace workspace;
  std::vector<int32_t> ids;
  const auto candidates = sample_candidates(input, params, workspace);
  EXPECT_TRUE(candidates.ok()) << candidates.status().message();
  if (!candidates.ok()) return ids;
  for (const Candidate& candidate : *candidates) ids.push_back(candidate.id());
  return ids;
}

class RandomCase {
 public:
  explicit RandomCase(uint64_t seed) : seed_(seed) {
    const size_t vocabulary = draw(8) == 0 ? 1 + draw(5000) : 1 + draw(40);
    const uint64_t kind = draw(5);
    for (size_t i = 0; i < vocabulary; ++i) {
      float x = static_cast<float>(uniform() * 20 - 10);
      if (kind == 1) x = std::round(x / 4);  // many ties, both zeros
      if (kind == 2) x = x * 1e37f;          // the ends of float
      if (kind == 3) x = x * 1e-3f;          // nearly flat
      if (draw(10) == 0 && i > 0) x = -kInfinity;
      logits.push_back(x);
    }
    for (uint64_t i = draw(20); i > 0; --i) prompt.push_back(static_cast<int32_t>(draw(vocabulary + 2)) - 1);
    for (uint64_t i = draw(20); i > 0; --i)
      generated.push_back(static_cast<int32_t>(draw(vocabulary + 2)) - 1);
    params.temperature = draw(6) == 0 ? 0 : draw(10) == 0 ? 1e-3 : 0.05 + uniform() * 1.9;
    if (draw(2) == 0) params.top_k = static_cast<int32_t>(draw(vocabulary + 3)) - 1;
    if (draw(2) == 0) params.top_p = draw(8) == 0 ? 0 : draw(3) == 0 ? 0.999999 : uniform();
    if (draw(2) == 0) params.min_p = draw(8) == 0 ? 1 : uniform() * uniform() * uniform();
    if (draw(2) == 0) params.repetition_penalty = draw(9) == 0 ? 0.01 : 0.5 + uniform() * 1.5;
    if (draw(2) == 0) params.presence_penalty = uniform() * 4 - 2;
    if (draw(2) == 0) params.frequency_penalty = uniform() * 4 - 2;
    if (draw(2) == 0) {
      allowed.resize(1 + draw(vocabulary / 32 + 2));  // shorter than the vocabulary, or longer
      const uint64_t density = draw(3);
      for (uint32_t& word : allowed) {
        word = static_cast<uint32_t>(draw(uint64_t{1} << 32));
        if (density == 1) word &= static_cast<uint32_t>(draw(uint64_t{1} << 32));
        if (density == 2) word = 0;
      }
      allowed[0] |= 1;
    }
    if (draw(3) == 0) {
      for (int32_t id = 0; id < static_cast<int32_t>(vocabulary) + 2; ++id) {
        if (draw(4) == 0) params.logit_bias.push_back({id, uniform() * 200 - 100});
        if (params.logit_bias.size() == kMaxLogitBiases) break;
      }
    }
    // Never the first, which has a finite logit: something must be left.
    for (uint64_t i = draw(3); i > 0; --i) banned.push_back(static_cast<int32_t>(1 + draw(vocabulary + 1)));
  }

  SampleInput input() const {
    return {.logits = logits,
            .prompt_tokens = prompt,
            .generated_tokens = generated,
            .random_key = seed_,
            .banned_tokens = banned,
            .allowed = allowed};
  }

  std::vector<float> logits;
  std::vector<int32_t> prompt;
  std::vector<int32_t> generated;
  std::vector<uint32_t> allowed;
  std::vector<int32_t> banned;
  SamplingParams params;

 private:
  uint64_t draw(uint64_t bound) { return random_bits(seed_, counter_++) % bound; }
  double uniform() { return random_uniform(seed_, counter_++); }

  uint64_t seed_;
  uint64_t counter_ = 1000000;
};

}  // namespace fathom::testing
