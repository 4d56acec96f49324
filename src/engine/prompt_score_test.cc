#include "engine/prompt_score.h"

#include <gtest/gtest.h>

#include "support/engine.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom::testing {
namespace {

class PromptScoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_.file("model");
    write_tiny_checkpoint({.config = tiny_config(), .directory = model_});
    engine_ = load_engine(small_options(model_));
    ASSERT_NE(engine_, nullptr);
  }

  TempDir folder_;
  std::string model_;
  std::unique_ptr<Engine> engine_;
};

// An answer scored as a text has the log-probabilities it was drawn with, bit for bit, while others run too.
TEST_F(PromptScoreTest, AgreesWithGeneration) {
  const std::vector<int32_t> prompt = {5, 6, 7};
  const Answer answer = run_all(*engine_, {{prompt, greedy_params(12)}})[0];
  std::vector<int32_t> ids = prompt;
  ids.insert(ids.end(), answer.ids.begin(), answer.ids.end() - 1);

  Answer other;
  const std::vector<int32_t> other_prompt = {1, 2, 3, 4};
  ASSERT_TRUE(engine_
                  ->submit({other_prompt, greedy_params(8)},
                           [&other](const RequestEvent& event) {
                             if (event.token_id) other.ids.push_back(*event.token_id);
                             if (event.token_id) other.logprobs.push_back(event.logprob.value_or(0));
                           })
                  .ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(engine_->step().ok());
  const SamplingParams next = greedy_params(1);
  int num_chunks = 0;
  const auto score = score_prompt(*engine_, ids, {.num_top = 3, .next = &next, .between_chunks = [&] {
                                                    ++num_chunks;
                                                    return ok_status();
                                                  }});
  ASSERT_TRUE(score.ok()) << score.status().message();
  EXPECT_EQ(num_chunks, 2);  // 14 tokens, 8 rows of logits at a time
  ASSERT_EQ(score->tokens.size(), ids.size());
  EXPECT_FALSE(score->tokens[0].logprob.has_value());
  for (size_t i = 1; i < ids.size(); ++i) {
    EXPECT_EQ(score->tokens[i].id, ids[i]);
    EXPECT_EQ(score->tokens[i].top_logprobs.size(), 3u);
  }
  for (size_t i = 0; i + 1 < answer.ids.size(); ++i) {
    const SampledToken& token = score->tokens[prompt.size() + i];
    EXPECT_EQ(*token.logprob, answer.logprobs[i]) << i;
    EXPECT_EQ(token.top_logprobs[0].id, answer.ids[i]) << i;
  }
  ASSERT_TRUE(score->next.has_value());
  EXPECT_EQ(score->next->token.id, answer.ids.back());
  EXPECT_EQ(*score->next->token.logprob, answer.logprobs.back());
  EXPECT_EQ(score->next->finish_reason, FinishReason::kLength);

  while (engine_->has_work()) ASSERT_TRUE(engine_->step().ok());
  EXPECT_EQ(other, run_all(*engine_, {{other_prompt, greedy_params(8)}})[0]);
  EXPECT_EQ(engine_->statistics().pages_used, 0);
}

TEST_F(PromptScoreTest, EndsWhereItIsToldTo) {
  const auto score = score_prompt(*engine_, std::vector<int32_t>(100, 3),
                                  {.between_chunks = [] { return Status(ErrorCode::kCancelled, "gone"); }});
  EXPECT_EQ(score.status().code(), ErrorCode::kCancelled);
  EXPECT_FALSE(score_prompt(*engine_, std::vector<int32_t>(), {}).ok());
  EXPECT_EQ(engine_->statistics().pages_used, 0);
}

}  // namespace
}  // namespace fathom::testing
