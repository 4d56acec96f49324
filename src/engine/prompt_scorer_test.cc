// Log-probabilities of prompts against those from Engine::score, to the bit, whatever the batch.
#include "engine/prompt_scorer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "sample/log_softmax.h"
#include "support/engine.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom::testing {
namespace {

constexpr size_t kVocabSize = 40;

std::vector<int32_t> prompt_of(size_t length, int seed) {
  std::vector<int32_t> ids(length);
  for (size_t i = 0; i < length; ++i)
    ids[i] = static_cast<int32_t>((i * 7 + i / 3 + seed * 11u) % kVocabSize);
  return ids;
}

PromptScores want(Engine& engine, const std::vector<int32_t>& ids, const PromptScoring& scoring) {
  const std::vector<float> logits = score_all(engine, ids);
  const auto logprob = [&](size_t row, int32_t id) {
    const auto values = std::span(logits).subspan(row * kVocabSize, kVocabSize);
    return LogSoftmax(values).of(values[static_cast<size_t>(id)]);
  };
  PromptScores scores;
  if (scoring.first) {
    for (size_t i = static_cast<size_t>(*scoring.first); i < ids.size(); ++i)
      scores.logprobs.push_back(logprob(i - 1, ids[i]));
  }
  for (int32_t id : scoring.next_ids) scores.next_logprobs.push_back(logprob(ids.size() - 1, id));
  return scores;
}

class PromptScorerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_.file("model");
    write_tiny_checkpoint({.config = tiny_config(), .directory = model_});
  }

  // Submits all at once; every request must deliver its scores exactly once.
  std::vector<PromptScores> run(Engine& engine, const std::vector<Request>& requests) {
    std::vector<PromptScores> scores(requests.size());
    std::vector<int> deliveries(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto id = engine.submit(requests[i], [&, i](const RequestEvent& event) {
        EXPECT_TRUE(event.status.ok()) << event.status.message();
        if (event.prompt_scores == nullptr) return;
        scores[i] = *event.prompt_scores;
        ++deliveries[i];
      });
      EXPECT_TRUE(id.ok()) << id.status().message();
    }
    while (engine.has_work()) EXPECT_TRUE(engine.step().ok());
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(deliveries[i], PromptScorer::asks(requests[i].scoring) ? 1 : 0) << i;
    }
    return scores;
  }

  TempDir folder_;
  std::string model_;
};

std::vector<Request> mixed_requests() {
  const PromptScoring none, end{.first = {}, .next_ids = {3, 0, 39, 3}}, all{.first = 1, .next_ids = {}};
  std::vector<Request> requests;
  int seed = 0;
  for (const size_t length : {size_t{1}, size_t{2}, size_t{16}, size_t{17}, size_t{75}, size_t{190}}) {
    for (PromptScoring scoring : {none, end, all, PromptScoring{static_cast<int64_t>(length) - 1, {5}}}) {
      if (scoring.first && (*scoring.first < 1 || *scoring.first >= static_cast<int64_t>(length)))
        scoring.first.reset();
      requests.push_back({prompt_of(length, ++seed), greedy_params(1 + seed % 4), scoring});
    }
  }
  return requests;
}

TEST_F(PromptScorerTest, EqualsScoreWhateverTheBatch) {
  const std::vector<Request> requests = mixed_requests();
  std::vector<PromptScores> wanted;
  {
    const auto engine = load_engine(small_options(model_));
    ASSERT_NE(engine, nullptr);
    for (const Request& request : requests)
      wanted.push_back(want(*engine, request.prompt_ids, request.scoring));
  }
  struct Cut {
    int64_t seqs, tokens;
    uint64_t kv_memory_kib;
  };
  // With 2 sequences a step may give 2 rows of logits at a time; the last cache is too small for all prompts.
  for (const Cut cut : {Cut{8, 128, 0}, Cut{1, 512, 0}, Cut{2, 33, 0}, Cut{32, 512, 0}, Cut{32, 64, 30}}) {
    EngineOptions options = small_options(model_);
    options.max_num_seqs = cut.seqs;
    options.max_num_batched_tokens = cut.tokens;
    if (cut.kv_memory_kib > 0) options.kv_memory_bytes = cut.kv_memory_kib << 10;
    const auto engine = load_engine(options);
    ASSERT_NE(engine, nullptr);
    const std::vector<PromptScores> got = run(*engine, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(got[i].logprobs, wanted[i].logprobs) << "request " << i << ", " << cut.seqs << " sequences";
      EXPECT_EQ(got[i].next_logprobs, wanted[i].next_logprobs) << "request " << i;
    }
  }
}

// A scored answer has the log-probabilities it was drawn with, bit for bit; so have the likeliest beside it.
TEST_F(PromptScorerTest, AgreesWithGeneration) {
  const auto engine = load_engine(small_options(model_));
  ASSERT_NE(engine, nullptr);
  std::vector<int32_t> ids = {5, 6, 7};
  SamplingParams sampling = greedy_params(12);
  const Answer answer = run_all(*engine, {{ids, sampling}})[0];
  ids.insert(ids.end(), answer.ids.begin(), answer.ids.end());
  const PromptScores scores =
      run(*engine, {{ids, greedy_params(1), {.first = 3, .next_ids = {}, .num_top = 3}}})[0];
  EXPECT_EQ(scores.logprobs, answer.logprobs);
  for (size_t i = 0; i < answer.ids.size(); ++i) {
    EXPECT_EQ(scores.ranks[i], 1);
    ASSERT_EQ(scores.top_logprobs[i].size(), 3u);
    EXPECT_EQ(scores.top_logprobs[i][0].id, answer.ids[i]);
    EXPECT_EQ(scores.top_logprobs[i][0].logprob, answer.logprobs[i]);
  }
}

TEST_F(PromptScorerTest, RefusesWhatLiesOutside) {
  const auto engine = load_engine(small_options(model_));
  ASSERT_NE(engine, nullptr);
  const auto refusal = [&](PromptScoring scoring) {
    return engine->submit({{1, 2, 3}, greedy_params(1), std::move(scoring)}, [](const RequestEvent&) {})
        .status()
        .message();
  };
  EXPECT_EQ(refusal({0, {}}), "scoring: first is 0, outside [1, 3), the latter the prompt's length");
  EXPECT_EQ(refusal({3, {}}), "scoring: first is 3, outside [1, 3), the latter the prompt's length");
  EXPECT_EQ(refusal({{}, {40}}), "scoring: token id 40 is outside [0, 40)");
  EXPECT_EQ(refusal({2, {}, 21}), "scoring: num_top is 21, outside [0, 20]");
  EXPECT_EQ(refusal({2, {39}}), "");
}

TEST(PromptScorerUnit, ReportsLogitsThatAreNotFinite) {
  PromptScorer scorer({1, {}}, 3);
  const std::vector<int32_t> tokens = {0, 1, 0};
  EXPECT_FALSE(scorer.wants(2));
  scorer.take(0, tokens, std::vector<float>{1, 2});
  EXPECT_TRUE(scorer.status().ok());
  scorer.take(1, tokens, std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()});
  EXPECT_NE(scorer.status().message().find("token 1"), std::string::npos);
}

// Equal logits rank by id.
TEST(PromptScorerUnit, RanksAndAlternatives) {
  for (int32_t id = 0; id < 5; ++id) {
    PromptScorer scorer({.first = 1, .next_ids = {}, .num_top = 2}, 2);
    const std::vector<int32_t> tokens = {0, id};
    scorer.take(0, tokens, std::vector<float>{1, 3, 1, 0, 3});
    const PromptScores scores = std::move(scorer).scores();
    const int64_t ranks[] = {3, 1, 4, 5, 2};
    EXPECT_EQ(scores.ranks, std::vector<int64_t>{ranks[id]}) << id;
    ASSERT_EQ(scores.top_logprobs[0].size(), 2u);
    EXPECT_EQ(scores.top_logprobs[0][0].id, 1);
    EXPECT_EQ(scores.top_logprobs[0][1].id, 4);
  }
}

TEST(PromptScorerUnit, KnownValues) {
  PromptScorer scorer({1, {1, 0}}, 2);
  const std::vector<int32_t> tokens = {0, 1};
  scorer.take(0, tokens, std::vector<float>{0, 0});
  scorer.take(1, tokens, std::vector<float>{0, static_cast<float>(std::log(3.0))});
  const PromptScores scores = std::move(scorer).scores();
  ASSERT_EQ(scores.logprobs.size(), 1u);
  EXPECT_DOUBLE_EQ(scores.logprobs[0], -std::log(2.0));
  EXPECT_NEAR(scores.next_logprobs[0], std::log(0.75), 1e-6);  // log(3) is rounded to float
  EXPECT_NEAR(scores.next_logprobs[1], std::log(0.25), 1e-6);
}

}  // namespace
}  // namespace fathom::testing
