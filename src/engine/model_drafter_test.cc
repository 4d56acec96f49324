// A draft model changes how many steps an answer takes and nothing else.
#include "engine/model_drafter.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "constrain/constraint.h"
#include "support/engine.h"
#include "support/fake_step_clock.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom::testing {
namespace {

// An engine and the clock that it goes by.
struct Clocked {
  FakeStepClock clock;
  std::unique_ptr<Engine> engine;

  Clocked(EngineOptions options, const StepPrices& prices) : clock(prices) {
    clock.set(options);
    engine = load_engine(options);
    if (engine) clock.watch(*engine);
  }
};

class ModelDrafterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_.file("model");
    write_tiny_checkpoint({.config = tiny_config(), .directory = model_});
    // Of another shape, and of other opinions.
    other_ = folder_.file("other");
    ModelConfig config = tiny_grouped_config();
    config.num_hidden_layers = 2;
    write_tiny_checkpoint({.config = config, .directory = other_, .seed = 3});
  }

  EngineOptions options(const std::string& draft_model) const {
    EngineOptions options = small_options(model_);
    options.speculation = draft_model.empty() ? Speculation::kOff : Speculation::kDraftModel;
    options.draft_model_dir = draft_model;
    return options;
  }

  TempDir folder_;
  std::string model_;
  std::string other_;
};

std::shared_ptr<const CompiledConstraint> letters_pattern(const std::string& text) {
  std::vector<std::string> tokens = {"", ""};
  for (char letter = 'a'; letter <= 'z'; ++letter) tokens.emplace_back(1, letter);
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  return CompiledConstraint::compile({.kind = ConstraintSpec::Kind::kRegex, .text = text, .choices = {}},
                                     TokenTrie::create(views, {1}).value())
      .value();
}

std::vector<Request> draftable_requests() {
  std::vector<Request> requests;
  for (const double temperature : {0.0, 0.8}) {
    Request plain{{7, 8, 9, 30, 31}, greedy_params(60)};
    plain.sampling.temperature = temperature;
    plain.sampling.seed = 5;
    requests.push_back(plain);
    Request penalised = plain;
    penalised.sampling.frequency_penalty = 0.4;
    penalised.sampling.repetition_penalty = 1.3;
    requests.push_back(penalised);
    Request constrained = plain;
    constrained.constraint = letters_pattern("([a-m][n-z]{2})*");
    requests.push_back(constrained);
    Request ending = plain;
    ending.sampling.ignore_eos = false;
    ending.sampling.min_tokens = 20;
    ending.sampling.stop_token_ids = {3, 4, 5};
    requests.push_back(ending);
  }
  return requests;
}

TEST_F(ModelDrafterTest, AnswersAreTheSameBitForBit) {
  const auto plain = load_engine(options(""));
  Clocked same(options(model_), {});
  Clocked other(options(other_), {});
  ASSERT_TRUE(plain && same.engine && other.engine);
  const std::vector<Request> requests = draftable_requests();
  std::vector<Answer> want;
  for (const Request& request : requests) want.push_back(run_all(*plain, {request})[0]);
  const int64_t num_plain_steps = plain->statistics().num_steps;
  for (Engine* engine : {same.engine.get(), other.engine.get()}) {
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(run_all(*engine, {requests[i]})[0], want[i]) << i;
    }
  }
  // Guessed with the sampler's own numbers, so that sampled answers hold as well as greedy ones.
  const SpeculationStatistics held = same.engine->statistics().speculation;
  EXPECT_GT(held.num_accepted, held.num_drafts * 9 / 10);
  EXPECT_LT(same.engine->statistics().num_steps, num_plain_steps / 2);
  for (Engine* engine : {same.engine.get(), other.engine.get()}) {
    const std::vector<Answer> together = run_all(*engine, requests);
    for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(together[i], want[i]) << i << " of all";
    EXPECT_EQ(engine->statistics().pages_used, 0);
    EXPECT_TRUE(engine->recount().ok());
  }
}

TEST_F(ModelDrafterTest, NeverCostsMuchWhereNothingHolds) {
  struct Case {
    StepPrices prices;
    size_t num_requests = 1;
    size_t prompt_length = 8;
  };
  const Case cases[] = {{{1, 0.1, 0.15}},       {{1, 0.02, 0.05}},       {{1, 0.3, 0.3}},
                        {{1, 0.05, 0.05}, 6},   {{1, 0.02, 0.05}, 4},    {{1, 0.1, 0.15}, 1, 90},
                        {{1, 0.5, 0.1}, 1, 90}, {{1, 0.02, 0.02}, 4, 60}};
  for (const auto& [prices, num_requests, prompt_length] : cases) {
    std::vector<Request> requests;
    for (size_t i = 0; i < num_requests; ++i) {
      requests.push_back(
          {std::vector<int32_t>(prompt_length + i, static_cast<int32_t>(i + 2)), greedy_params(150)});
    }
    Clocked plain(options(""), prices);
    Clocked drafting(options(other_), prices);
    ASSERT_TRUE(plain.engine && drafting.engine);
    EXPECT_EQ(run_all(*drafting.engine, requests), run_all(*plain.engine, requests));
    const SpeculationStatistics statistics = drafting.engine->statistics().speculation;
    EXPECT_GT(statistics.num_draft_model_tokens, 0) << "it has to try";
    EXPECT_LE(statistics.num_accepted, statistics.num_drafts / 5);
    EXPECT_LE(drafting.clock.now(), 1.05 * plain.clock.now())
        << prices.per_token << " " << num_requests << " " << prompt_length << " " << statistics.num_drafts;
  }
}

// What the draft model has computed is found with the prefix.
TEST_F(ModelDrafterTest, SharesPrefixesWithTheModel) {
  std::vector<int32_t> prompt(120);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(2 + i * i % 31);
  int64_t computed[2];
  for (const auto caching : {PrefixCaching::kOn, PrefixCaching::kOff}) {
    EngineOptions with = options(model_);
    with.prefix_caching = caching;
    Clocked drafting(with, {.per_draft_model_token = 0.001});
    ASSERT_TRUE(drafting.engine);
    const auto run = [&] {
      const int64_t before = drafting.engine->statistics().speculation.num_draft_model_tokens;
      run_all(*drafting.engine, {{prompt, greedy_params(120)}});
      return drafting.engine->statistics().speculation.num_draft_model_tokens - before;
    };
    run();
    computed[caching == PrefixCaching::kOn ? 0 : 1] = run();
    const int64_t num_cached = drafting.engine->statistics().num_cached_tokens;
    EXPECT_EQ(num_cached > 100, caching == PrefixCaching::kOn) << num_cached;
  }
  EXPECT_LT(computed[0] + 100, computed[1]);
}

TEST_F(ModelDrafterTest, StopsDraftingAtTheDraftModelsOwnLimit) {
  ModelConfig config = tiny_config();
  config.max_position_embeddings = 50;
  const std::string brief = folder_.file("brief");
  write_tiny_checkpoint({.config = config, .directory = brief});
  const auto plain = load_engine(options(""));
  Clocked drafting(options(brief), {});
  ASSERT_TRUE(plain && drafting.engine);
  const Request request{{5, 6, 7}, greedy_params(120)};
  EXPECT_EQ(run_all(*drafting.engine, {request}), run_all(*plain, {request}));
  EXPECT_GT(drafting.engine->statistics().speculation.num_accepted, 20);
  EXPECT_LT(drafting.engine->statistics().speculation.num_accepted, 50);
}

TEST_F(ModelDrafterTest, RefusesAnotherVocabulary) {
  const auto refusal = [&] { return Engine::load(options(other_), nullptr).status().message(); };
  ModelConfig config = tiny_config();
  config.vocab_size = 41;
  std::filesystem::remove_all(other_);
  write_tiny_checkpoint({.config = config, .directory = other_});
  EXPECT_EQ(refusal(), fmt::format("draft model {}: vocab_size is 41, that of {} is 40; drafts need the same "
                                   "vocabulary",
                                   other_, model_));
  std::filesystem::remove_all(other_);
  write_tiny_checkpoint({.config = tiny_config(), .directory = other_});
  ASSERT_TRUE(write_file(other_ + "/tokenizer.json", "{}").ok());
  EXPECT_EQ(refusal(), fmt::format("draft model {}: has a tokenizer.json, {} has none; drafts need the same "
                                   "vocabulary",
                                   other_, model_));
  std::filesystem::remove_all(other_);
  EXPECT_NE(refusal().find(other_ + ": no such folder"), std::string::npos) << refusal();
}

}  // namespace
}  // namespace fathom::testing
