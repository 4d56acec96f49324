#include "sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/exact_exp.h"
#include "base/random.h"
#include "sample/weights.h"

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

// The running sum behind each weight: blocks of 32 ids, groups of 32 blocks, each summed in order.
std::vector<double> running_sums(const std::vector<int32_t>& ids, const std::vector<double>& weights) {
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

int32_t reference_draw(const Reference& reference, double u) {
  const std::vector<double> sums = running_sums(reference.ids, reference.weights);
  const auto drawn = std::upper_bound(sums.begin(), sums.end(), u * sums.back());
  return drawn == sums.end() ? -1 : reference.ids[static_cast<size_t>(drawn - sums.begin())];
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

// Facts of a row as a device tells them, with a head of at most `most` tokens.
struct KnownRow {
  KnownRow(const std::vector<float>& logits, const SamplingParams& params, size_t most, double u) {
    const RowNeeds needs = needs_of(params, logits.size());
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] != -kInfinity) ranks.push_back(make_rank(logits[i], static_cast<uint32_t>(i)));
    }
    std::sort(ranks.begin(), ranks.end());
    facts.peak_id = static_cast<int32_t>(rank_id(ranks[0]));
    facts.peak = logits[static_cast<size_t>(facts.peak_id)];
    facts.head = std::span(ranks).first(std::min({most, needs.head, ranks.size()}));
    facts.head_has_all = facts.head.size() == ranks.size();
    if (needs.inverse_temperature == 0) return;
    Reference all;
    for (size_t i = 0; i < logits.size(); ++i) {
      all.ids.push_back(static_cast<int32_t>(i));
      all.weights.push_back(logit_weight(logits[i], facts.peak, needs.inverse_temperature));
    }
    facts.total = running_sums(all.ids, all.weights).back();
    if (needs.draws_from_all) facts.drawn_id = reference_draw(all, u);
  }
  std::vector<uint64_t> ranks;
  RowFacts facts;
};

// What is known of a row gives the token of the whole row, or says that it is too little.
TEST(Sampler, FactsOfARowAreEnoughOrSaySo) {
  SamplerWorkspace workspace;
  int num_rows = 0, num_open = 0;
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    RandomCase c(seed);
    c.params.repetition_penalty = 1;
    c.params.presence_penalty = c.params.frequency_penalty = 0;
    c.params.logit_bias.clear();
    const SampleInput input{c.logits, c.prompt, c.generated, seed};
    const double u = sampler_number(seed, c.prompt.size() + c.generated.size());
    const auto want = sample(input, c.params, workspace);
    ASSERT_TRUE(want.ok());
    const size_t most = seed % 3 == 0 ? c.logits.size() : 1 + seed % 23;
    const KnownRow known(c.logits, c.params, most, u);
    const auto got = sample(known.facts, c.params, c.logits.size(), u, workspace);
    ++num_rows;
    num_open += !got;
    if (got) {
      ASSERT_EQ(*got, want->id) << "seed " << seed;
    } else {
      ASSERT_LT(known.facts.head.size(), known.ranks.size()) << "seed " << seed;
    }
  }
  EXPECT_GT(num_open, num_rows / 100);
  EXPECT_LT(num_open, num_rows / 3);
}

TEST(Sampler, NeedsTheWholeRowWhereLogitsChangeOrAreTold) {
  SamplingParams params;
  EXPECT_FALSE(needs_of(params, 100).whole);
  params.logprobs = 0;
  EXPECT_TRUE(needs_of(params, 100).whole);
  params = {};
  params.logit_bias = {{1, 1}};
  EXPECT_TRUE(needs_of(params, 100).whole);
  params = {};
  params.presence_penalty = 1;
  EXPECT_TRUE(needs_of(params, 100).whole);
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
  const Reference all = reference_sample(input, {});
  for (uint64_t key = 0; key < 100; ++key) {
    EXPECT_EQ(sample_id({logits, {}, {}, key}, {}), reference_draw(all, random_uniform(key, 0)));
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

TEST(Weights, SideBySideAreThoseOneByOne) {
  for (const double temperature : {0.01, 0.7, 2.0, std::numeric_limits<double>::denorm_min()}) {
    const Weigher weigh(7.5f, temperature);
    std::vector<float> logits = {7.5f, -kInfinity, -0.0f, 0.0f, -kLargestFloat, 7.4999995f};
    for (uint64_t i = 0; i < 5001; ++i)
      logits.push_back(static_cast<float>(7.5 - 1500 * temperature * std::pow(random_uniform(2, i), 5)));
    for (const float floor : {-kLargestFloat, 0.0f, 7.4f}) {
      std::vector<double> weights(logits.size(), -1);
      fill_weights(logits, weigh, floor, weights.data());
      for (size_t i = 0; i < logits.size(); ++i)
        ASSERT_EQ(weights[i], logits[i] >= floor ? weigh(logits[i]) : 0) << logits[i];
      std::vector<double> groups;
      std::vector<int32_t> ids(logits.size());
      std::iota(ids.begin(), ids.end(), 0);
      const std::vector<double> sums = running_sums(ids, weights);
      EXPECT_EQ(sum_weights(logits, weigh, floor, groups), sums.back());
      for (uint64_t i = 0; i < 50; ++i) {
        const double target = random_uniform(4, i) * sums.back();
        EXPECT_EQ(find_in_weights(logits, weigh, floor, groups, target),
                  std::upper_bound(sums.begin(), sums.end(), target) - sums.begin());
      }
    }
  }
}

TEST(Weights, LeastLogitIsWhereTheShareBegins) {
  for (uint64_t i = 0; i < 2000; ++i) {
    const Weigher weigh(static_cast<float>(40 * random_uniform(5, i) - 20), 2 * random_uniform(6, i) + 1e-9);
    const double share = i % 10 == 0 ? 1 : std::pow(random_uniform(7, i), 4);
    const float least = least_logit(weigh, share);
    ASSERT_GE(weigh(least), share);
    ASSERT_LT(weigh(std::nextafter(least, -kInfinity)), share);
  }
  EXPECT_EQ(least_logit(Weigher(1, 1), 0), -kLargestFloat);
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
