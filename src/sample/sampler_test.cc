#include "sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/random.h"
#include "sample/exact_exp.h"

namespace fathom {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The header's definition written for reading: a full sort, a map of counts, everything copied.
struct Reference {
  std::vector<int32_t> ids;     // kept, in order of id
  std::vector<double> weights;  // of ids
  int32_t greedy = 0;
};

std::vector<float> reference_penalties(const SampleInput& input, const SamplingParams& params) {
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

Reference reference_sample(const SampleInput& input, const SamplingParams& params) {
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
    weight[i] = exact_exp((logits[i] - max_logit) / params.temperature);
  std::erase_if(order, [&](int32_t id) { return logits[id] == -kInfinity || weight[id] < params.min_p; });
  if (params.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(params.top_k)));
  if (params.top_p < 1) {
    std::vector<int32_t> by_id = order;
    std::sort(by_id.begin(), by_id.end());
    double total = 0;
    for (int32_t id : by_id) total += weight[id];
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

int32_t reference_draw(const Reference& reference, double u) {
  const double total = std::accumulate(reference.weights.begin(), reference.weights.end(), 0.0);
  double sum = 0;
  for (size_t i = 0; i < reference.ids.size(); ++i) {
    sum += reference.weights[i];
    if (sum > u * total) return reference.ids[i];
  }
  return -1;
}

int32_t sample_id(const SampleInput& input, const SamplingParams& params) {
  SamplerWorkspace workspace;
  const Result<SampledToken> token = sample(input, params, workspace);
  EXPECT_TRUE(token.ok()) << token.status().message();
  return token.ok() ? token->id : -1;
}

std::vector<int32_t> kept_ids(const SampleInput& input, const SamplingParams& params) {
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

// One workspace over all cases: nothing of one may reach the next.
TEST(Sampler, EqualsTheReference) {
  SamplerWorkspace workspace;
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    const RandomCase c(seed);
    ASSERT_TRUE(c.params.validate().ok()) << c.params.validate().message();
    const Reference reference = reference_sample(c.input(), c.params);
    int32_t expected = reference.greedy;
    if (!c.params.is_greedy()) {
      const auto candidates = sample_candidates(c.input(), c.params, workspace);
      ASSERT_TRUE(candidates.ok());
      ASSERT_EQ(candidates->size(), reference.ids.size()) << "seed " << seed;
      for (size_t i = 0; i < reference.ids.size(); ++i) {
        ASSERT_EQ((*candidates)[i].id(), reference.ids[i]) << "seed " << seed;
        ASSERT_EQ((*candidates)[i].weight, reference.weights[i]) << "seed " << seed;
      }
      expected = reference_draw(reference, random_uniform(seed, c.prompt.size() + c.generated.size()));
    }
    const auto token = sample(c.input(), c.params, workspace);
    ASSERT_TRUE(token.ok());
    ASSERT_EQ(token->id, expected) << "seed " << seed;
  }
}

// A flat distribution of the model's own vocabulary makes top_p grow its head to the end.
TEST(Sampler, LargeVocabulary) {
  std::vector<float> logits(102400);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(random_uniform(3, i) * 0.01);
  SamplerWorkspace workspace;
  const SampleInput input{logits, {}, {}, 5};
  for (double top_p : {0.0001, 0.01, 0.5, 0.95}) {
    SamplingParams params;
    params.top_p = top_p;
    const Reference reference = reference_sample(input, params);
    EXPECT_EQ(kept_ids(input, params), reference.ids) << "top_p " << top_p;
    EXPECT_EQ(sample_id(input, params), reference_draw(reference, random_uniform(5, 0)));
  }
  for (int32_t top_k : {1, 40, 5000, 102399, 102400, 200000}) {
    SamplingParams params;
    params.top_k = top_k;
    EXPECT_EQ(kept_ids(input, params), reference_sample(input, params).ids) << "top_k " << top_k;
  }
}

// Pearson's statistic over positions: 7 degrees of freedom stay below 40 with probability 1 - 1e-6.
TEST(Sampler, FrequenciesFollowTheProbabilities) {
  const std::vector<float> logits = {0.5f, 2.0f, -1.0f, 1.0f, 1.0f, 0.0f, -0.5f, 1.5f};
  SamplingParams params;
  params.temperature = 0.8;
  double total = 0;
  for (float logit : logits) total += std::exp(logit / 0.8);
  constexpr int kDraws = 200000;
  std::vector<int> counts(logits.size(), 0);
  SamplerWorkspace workspace;
  std::vector<int32_t> generated;
  for (int i = 0; i < kDraws; ++i) {
    // Half over positions, half over keys.
    const uint64_t key = sampler_key(static_cast<uint64_t>(i / 1000));
    generated.resize(static_cast<size_t>(i % 1000));
    ++counts[static_cast<size_t>(sample({logits, {}, generated, key}, params, workspace)->id)];
  }
  double statistic = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double expected = kDraws * std::exp(logits[i] / 0.8) / total;
    statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(statistic, 40);
}

TEST(Sampler, RandomNumberDependsOnSeedAndPositionOnly) {
  const std::vector<float> flat(1000, 0.0f);
  const std::vector<int32_t> three = {1, 2, 3};
  const std::vector<int32_t> five = {1, 2, 3, 4, 5};
  const std::vector<int32_t> two = {9, 9};
  SamplingParams params;
  const int32_t id = sample_id({flat, three, two, 1}, params);
  EXPECT_EQ(sample_id({flat, five, {}, 1}, params), id);
  EXPECT_NE(sample_id({flat, five, two, 1}, params), id);
  EXPECT_NE(sample_id({flat, five, {}, 2}, params), id);
  EXPECT_NE(sampler_key(1), sampler_key(2));
}

TEST(Sampler, TiesGoToTheLowerId) {
  const std::vector<float> logits = {-0.0f, 1.0f, 0.0f, 1.0f, -0.0f, 1.0f};
  SamplingParams params;
  params.temperature = 0;
  EXPECT_EQ(sample_id({logits, {}, {}, 0}, params), 1);
  params.temperature = 1;
  params.top_k = 2;
  EXPECT_EQ(kept_ids({logits, {}, {}, 0}, params), (std::vector<int32_t>{1, 3}));
  params.top_k = 4;
  EXPECT_EQ(kept_ids({logits, {}, {}, 0}, params), (std::vector<int32_t>{0, 1, 3, 5}));
  params.top_k = 5;
  EXPECT_EQ(kept_ids({logits, {}, {}, 0}, params), (std::vector<int32_t>{0, 1, 2, 3, 5}));
}

TEST(Sampler, EdgesOfTheFilters) {
  const std::vector<float> equal(6, 2.5f);
  const std::vector<float> mixed = {0.0f, 3.0f, -kInfinity, 3.0f, 1.0f};
  using Ids = std::vector<int32_t>;
  SamplingParams params;
  EXPECT_EQ(kept_ids({mixed, {}, {}, 0}, params), (Ids{0, 1, 3, 4}));
  params.top_p = 0;
  EXPECT_EQ(kept_ids({equal, {}, {}, 0}, params), (Ids{0}));
  EXPECT_EQ(kept_ids({mixed, {}, {}, 0}, params), (Ids{1}));
  params.top_p = 0.5;
  EXPECT_EQ(kept_ids({equal, {}, {}, 0}, params), (Ids{0, 1, 2}));
  params = {};
  params.top_k = 1;
  EXPECT_EQ(kept_ids({mixed, {}, {}, 0}, params), (Ids{1}));
  params.top_k = -1;
  EXPECT_EQ(kept_ids({mixed, {}, {}, 0}, params), (Ids{0, 1, 3, 4}));
  params = {};
  params.min_p = 1;
  EXPECT_EQ(kept_ids({mixed, {}, {}, 0}, params), (Ids{1, 3}));
  params.min_p = 0.1;
  EXPECT_EQ(kept_ids({mixed, {}, {}, 0}, params), (Ids{1, 3, 4}));
  const std::vector<float> one = {-12.0f};
  params = {};
  EXPECT_EQ(sample_id({one, {}, {}, 0}, params), 0);
  params.temperature = 0;
  EXPECT_EQ(sample_id({one, {}, {}, 0}, params), 0);
}

TEST(Sampler, ExtremesStayFinite) {
  const float largest = std::numeric_limits<float>::max();
  const std::vector<float> logits = {largest, -largest, 1e-45f, largest};
  const std::vector<int32_t> seen = {0, 1};
  SamplingParams params;
  params.temperature = std::numeric_limits<double>::denorm_min();
  EXPECT_EQ(kept_ids({logits, {}, {}, 0}, params), (std::vector<int32_t>{0, 1, 2, 3}));
  const int32_t id = sample_id({logits, {}, {}, 0}, params);
  EXPECT_TRUE(id == 0 || id == 3);
  params.temperature = 0;
  params.repetition_penalty = 2;
  EXPECT_EQ(sample_id({logits, seen, {}, 0}, params), 3);
  params.repetition_penalty = 0.01;
  EXPECT_EQ(sample_id({logits, seen, {}, 0}, params), 0);
}

TEST(Sampler, PenaltiesUseTheRightTokens) {
  const std::vector<float> logits = {4.0f, 3.9f, 3.8f};
  const std::vector<int32_t> zero = {0};
  const std::vector<int32_t> many = {0, 0, 1};
  SamplingParams params;
  params.temperature = 0;
  params.repetition_penalty = 1.1;
  EXPECT_EQ(sample_id({logits, zero, {}, 0}, params), 1);  // the prompt counts
  EXPECT_EQ(sample_id({logits, {}, zero, 0}, params), 1);
  params = {};
  params.temperature = 0;
  params.presence_penalty = 0.15;
  EXPECT_EQ(sample_id({logits, zero, {}, 0}, params), 0);  // the prompt does not
  EXPECT_EQ(sample_id({logits, {}, zero, 0}, params), 1);
  EXPECT_EQ(sample_id({logits, {}, many, 0}, params), 0);  // once, however often: 3.85, 3.75, 3.8
  params.presence_penalty = 0;
  params.frequency_penalty = 0.15;
  EXPECT_EQ(sample_id({logits, {}, zero, 0}, params), 1);
  EXPECT_EQ(sample_id({logits, {}, many, 0}, params), 2);  // 3.7, 3.75, 3.8
}

TEST(Sampler, BiasAndBan) {
  const std::vector<float> logits = {4.0f, 3.9f, 3.8f};
  const std::vector<int32_t> banned = {0, -1, 7};
  SamplingParams params;
  params.temperature = 0;
  EXPECT_EQ(sample_id({logits, {}, {}, 0, banned}, params), 1);
  params.logit_bias = {{2, 0.5}, {9, 100}};
  EXPECT_EQ(sample_id({logits, {}, {}, 0}, params), 2);
  params.logit_bias = {{0, -100}, {1, -100}, {2, -100}};  // a shift of all changes nothing
  EXPECT_EQ(sample_id({logits, {}, {}, 0}, params), 0);
  const std::vector<int32_t> all = {0, 1, 2};
  SamplerWorkspace workspace;
  EXPECT_FALSE(sample({logits, {}, {}, 0, all}, params, workspace).ok());
}

TEST(Sampler, LogprobsOfAGivenToken) {
  const std::vector<float> logits = {1.0f, 3.0f, 2.0f};
  SamplingParams params;
  params.temperature = 0;
  params.logprobs = 2;
  SamplerWorkspace workspace;
  const auto sampled = sample({logits, {}, {}, 0}, params, workspace);
  const auto given = token_logprobs(logits, 1, 2, workspace);
  ASSERT_TRUE(given.ok());
  EXPECT_EQ(given->logprob, sampled->logprob);
  ASSERT_EQ(given->top_logprobs.size(), 2u);
  EXPECT_EQ(given->top_logprobs[1].id, 2);
  EXPECT_NEAR(*token_logprobs(logits, 0, 0, workspace)->logprob, *given->logprob - 2, 1e-12);
  const std::vector<float> bad = {1.0f, std::nanf(""), 2.0f};
  EXPECT_FALSE(token_logprobs(bad, 0, 0, workspace).ok());
}

TEST(Sampler, RefusesLogitsThatAreNotUsable) {
  SamplerWorkspace workspace;
  for (double temperature : {0.0, 1.0}) {
    for (double penalty : {1.0, 1.5}) {
      SamplingParams params;
      params.temperature = temperature;
      params.repetition_penalty = penalty;
      const std::vector<int32_t> tokens = {0, 1, 2};
      for (float bad : {std::nanf(""), -std::nanf(""), kInfinity}) {
        for (size_t place = 0; place < 3; ++place) {
          std::vector<float> logits = {1.0f, 2.0f, 3.0f};
          logits[place] = bad;
          const auto token = sample({logits, tokens, tokens, 0}, params, workspace);
          ASSERT_FALSE(token.ok());
          EXPECT_EQ(token.status().code(), ErrorCode::kInvalidData);
          EXPECT_EQ(token.status().message(), fmt::format("the logit of token {} is {}", place, bad));
        }
      }
      const std::vector<float> nothing(3, -kInfinity);
      EXPECT_EQ(sample({nothing, tokens, tokens, 0}, params, workspace).status().message(),
                "all 3 logits are -inf");
    }
  }
}

TEST(Sampler, MaskBeforeEverything) {
  const std::vector<float> logits = {5.0f, 1.0f, 3.0f, -kInfinity, 2.0f};
  const std::vector<uint32_t> not_first = {0x1e};
  const std::vector<uint32_t> only_dead = {0x08};
  const std::vector<uint32_t> none = {0x00, 0xffffffffu};
  const std::vector<int32_t> seen = {2};
  SamplerWorkspace workspace;
  SamplingParams params;
  params.temperature = 0;
  EXPECT_EQ(sample_id({.logits = logits, .generated_tokens = {}, .allowed = not_first}, params), 2);
  params.presence_penalty = 1.5;
  EXPECT_EQ(sample_id({.logits = logits, .generated_tokens = seen, .allowed = not_first}, params), 4);
  for (const auto& mask : {only_dead, none}) {
    const auto token = sample({.logits = logits, .generated_tokens = {}, .allowed = mask}, params, workspace);
    ASSERT_FALSE(token.ok());
    EXPECT_EQ(token.status().code(), ErrorCode::kInvalidData);
    EXPECT_EQ(token.status().message(), "the mask allows none of the 4 tokens that have a finite logit");
  }
  // The row is looked at as a whole.
  const std::vector<float> bad = {std::nanf(""), 1.0f, 2.0f, 0.0f, 0.0f};
  EXPECT_EQ(sample({.logits = bad, .generated_tokens = {}, .allowed = not_first}, params, workspace)
                .status()
                .message(),
            fmt::format("the logit of token 0 is {}", bad[0]));
  params = {};
  params.top_k = 2;
  EXPECT_EQ(kept_ids({.logits = logits, .generated_tokens = {}, .allowed = not_first}, params),
            (std::vector<int32_t>{2, 4}));
  // Log-probabilities are those without the mask, also of what it forbids.
  params.logprobs = 1;
  const auto token =
      sample({.logits = logits, .generated_tokens = {}, .allowed = not_first}, params, workspace);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit});
  EXPECT_NEAR(token->logprob.value(), logits[static_cast<size_t>(token->id)] - std::log(sum), 1e-12);
  EXPECT_EQ(token->top_logprobs[0].id, 0);
}

TEST(Sampler, LogprobsAreTheModelsOwn) {
  const std::vector<float> logits = {1.0f, 3.0f, 3.0f, -kInfinity, 2.0f};
  double sum = 0;
  for (float logit : logits) sum += std::exp(double{logit});
  const std::vector<int32_t> seen = {1, 2};
  SamplingParams params;
  params.temperature = 0;
  params.presence_penalty = 2;
  SamplerWorkspace workspace;
  EXPECT_FALSE(sample({logits, {}, seen, 0}, params, workspace)->logprob.has_value());
  params.logprobs = 0;
  auto token = sample({logits, {}, seen, 0}, params, workspace);
  EXPECT_EQ(token->id, 4);
  EXPECT_NEAR(token->logprob.value(), 2 - std::log(sum), 1e-12);
  EXPECT_TRUE(token->top_logprobs.empty());
  params.logprobs = 3;
  token = sample({logits, {}, seen, 0}, params, workspace);
  ASSERT_EQ(token->top_logprobs.size(), 3u);
  const int32_t ids[3] = {1, 2, 4};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(token->top_logprobs[i].id, ids[i]);
    EXPECT_NEAR(token->top_logprobs[i].logprob, logits[static_cast<size_t>(ids[i])] - std::log(sum), 1e-12);
  }
  params.logprobs = 20;
  EXPECT_EQ(sample({logits, {}, seen, 0}, params, workspace)->top_logprobs.size(), 5u);
}

TEST(ExactExp, IsCloseToTheTrueValue) {
  double worst = 0;
  for (uint64_t i = 0; i < 1000000; ++i) {
    const double x = -708.0 * std::pow(random_uniform(1, i), 1 + static_cast<double>(i % 8));
    const long double expected = std::exp(static_cast<long double>(x));
    const double error = static_cast<double>(std::abs((exact_exp(x) - expected) / expected));
    worst = std::max(worst, error);
  }
  EXPECT_LT(worst, 2 * std::numeric_limits<double>::epsilon());
  EXPECT_EQ(exact_exp(0), 1);
  EXPECT_EQ(exact_exp(-0.0), 1);
  EXPECT_GT(exact_exp(-708), 0);
  EXPECT_EQ(exact_exp(-709), 0);
  EXPECT_EQ(exact_exp(-std::numeric_limits<double>::infinity()), 0);
}

}  // namespace
}  // namespace fathom
