#include "sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/random.h"
#include "sample/sampler_test_support.h"
#include "sample/weights.h"

namespace fathom::testing {
namespace {

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

}  // namespace
}  // namespace fathom::testing
