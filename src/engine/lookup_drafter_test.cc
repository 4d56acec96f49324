// Drafts change how many steps an answer takes and nothing else.
#include "engine/lookup_drafter.h"

#include <gtest/gtest.h>

#include "constrain/constraint.h"
#include "support/engine.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom::testing {
namespace {

class LookupDrafterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_.file("model");
    write_tiny_checkpoint({.config = tiny_config(), .directory = model_});
  }

  // Every step takes as long as every other, so that drafts cost next to nothing.
  std::unique_ptr<Engine> load(Speculation speculation) {
    EngineOptions options = small_options(model_);
    options.speculation = speculation;
    options.clock = [time = 0.0]() mutable { return time += 1; };
    return load_engine(options);
  }

  TempDir folder_;
  std::string model_;
};

std::shared_ptr<const CompiledConstraint> pattern(const std::string& text) {
  std::vector<std::string> tokens = {"", ""};
  for (char letter = 'a'; letter <= 'z'; ++letter) tokens.emplace_back(1, letter);
  for (const char* longer : {"ab", "abc", "de"}) tokens.emplace_back(longer);
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  return CompiledConstraint::compile({.kind = ConstraintSpec::Kind::kRegex, .text = text, .choices = {}},
                                     TokenTrie::create(views, {1}).value())
      .value();
}

// Few tokens to choose from: the same three stand everywhere, and what followed them holds now and then.
SamplingParams narrow(double temperature, uint64_t seed) {
  SamplingParams sampling = greedy_params(90);
  sampling.temperature = temperature;
  sampling.seed = seed;
  sampling.logit_bias = {{7, 100}, {8, 100}, {9, 100}};
  return sampling;
}

std::vector<Request> all_kinds() {
  std::vector<Request> requests;
  for (const double temperature : {0.0, 0.7, 2.0}) {
    const std::vector<int32_t> prompt = {7, 8, 9, 7, 8, 9};
    requests.push_back({prompt, narrow(temperature, 1)});
    Request penalised{prompt, narrow(temperature, 2)};
    penalised.sampling.frequency_penalty = 0.3;
    penalised.sampling.repetition_penalty = 1.2;
    requests.push_back(penalised);
    Request late{prompt, narrow(temperature, 3)};
    late.sampling.min_tokens = 40;
    late.sampling.stop_token_ids = {9};
    requests.push_back(late);
    Request constrained{prompt, greedy_params(90)};
    constrained.sampling.temperature = temperature;
    constrained.constraint = pattern("((abcde){3}|(fab){4})*");
    requests.push_back(constrained);
  }
  return requests;
}

TEST_F(LookupDrafterTest, AnswersAreTheSameBitForBit) {
  const auto plain = load(Speculation::kOff);
  const auto drafting = load(Speculation::kNgram);
  ASSERT_TRUE(plain != nullptr && drafting != nullptr);
  const std::vector<Request> requests = all_kinds();
  std::vector<Answer> want;
  for (const Request& request : requests) want.push_back(run_all(*plain, {request})[0]);
  for (const bool together : {false, true}) {
    std::vector<Answer> got;
    if (together) {
      got = run_all(*drafting, requests);
    } else {
      for (const Request& request : requests) got.push_back(run_all(*drafting, {request})[0]);
    }
    for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(got[i], want[i]) << i << " together " << together;
  }
  const SpeculationStatistics statistics = drafting->statistics().speculation;
  EXPECT_GT(statistics.num_accepted, 100);
  EXPECT_GT(statistics.num_drafts, statistics.num_accepted + 100);  // drafts that failed were among them
  EXPECT_GE(statistics.num_drafts, statistics.num_steps);
  EXPECT_EQ(plain->statistics().speculation.num_drafts, 0);
  EXPECT_EQ(drafting->statistics().pages_used, 0);
}

TEST_F(LookupDrafterTest, TextThatRepeatsItselfTakesFewerSteps) {
  const auto engine = load(Speculation::kNgram);
  ASSERT_NE(engine, nullptr);
  Request request{{5}, greedy_params(200)};
  request.constraint = pattern("(abcdefghijkl){50}");
  const auto answer = run_all(*engine, {request})[0];
  EXPECT_EQ(answer.ids.size(), 200u);
  EXPECT_LE(engine->statistics().num_steps, 60);
}

// A checkpoint made to repeat itself: nearly everything is guessed, at random weights in all layers.
TEST_F(LookupDrafterTest, GuessesARepeatingCheckpoint) {
  ModelConfig config = tiny_config();
  config.hidden_size = 64;
  model_ = folder_.file("repeating");
  write_tiny_checkpoint({.config = config, .directory = model_, .repeat_after = 8});
  const auto plain = load(Speculation::kOff);
  const auto drafting = load(Speculation::kNgram);
  ASSERT_TRUE(plain != nullptr && drafting != nullptr);
  const Request request{{5, 20, 11}, greedy_params(150)};
  const Answer want = run_all(*plain, {request})[0];
  for (size_t i = 0; i + 8 < want.ids.size(); ++i) ASSERT_EQ(want.ids[i], want.ids[i + 8]) << i;
  EXPECT_EQ(run_all(*drafting, {request})[0], want);
  EXPECT_LE(drafting->statistics().num_steps, 50);
}

// A stop in the middle of drafts that held ends the answer there.
TEST_F(LookupDrafterTest, StopsInsideDrafts) {
  const auto plain = load(Speculation::kOff);
  const auto drafting = load(Speculation::kNgram);
  ASSERT_TRUE(plain != nullptr && drafting != nullptr);
  for (int64_t max_tokens = 40; max_tokens < 80; ++max_tokens) {
    Request request{{5}, greedy_params(max_tokens)};
    request.constraint = pattern("(abcdefghijkl){4}x?");
    request.sampling.logprobs.reset();
    EXPECT_EQ(run_all(*drafting, {request})[0], run_all(*plain, {request})[0]) << max_tokens;
  }
  EXPECT_GT(drafting->statistics().speculation.num_accepted, 100);
}

}  // namespace
}  // namespace fathom::testing
