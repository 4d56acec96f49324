// Several answers to one prompt against as many requests for one, what the cache gives, and scores of prompts
// beside them.
#include <gtest/gtest.h>

#include <map>

#include "support/tiny_engine.h"

namespace fathom::testing {
namespace {

struct Told {
  Answer answer;
  int num_ends = 0;
  FinishReason reason = FinishReason::kNone;
  int64_t num_cached_tokens = 0;
};

class ChoicesTest : public TinyEngineTest {
 protected:
  // By choice. What told points to outlives the request.
  RequestId submit(Request request, std::map<int32_t, Told>& told) {
    const auto id = engine_->submit(std::move(request), [&told](const RequestEvent& event) {
      Told& choice = told[event.choice];
      EXPECT_EQ(choice.num_ends, 0);
      if (event.token_id) {
        choice.answer.ids.push_back(*event.token_id);
        choice.answer.logprobs.push_back(event.logprob.value_or(0));
      }
      choice.num_cached_tokens += event.num_cached_tokens;
      choice.num_ends += event.finish_reason != FinishReason::kNone;
      choice.reason = event.finish_reason;
    });
    EXPECT_TRUE(id.ok()) << id.status().message();
    return id.ok() ? *id : 0;
  }

  void finish() {
    while (engine_->has_work()) ASSERT_TRUE(engine_->step().ok());
  }
};

SamplingParams sampled(int64_t max_tokens, uint64_t seed) {
  SamplingParams sampling = greedy_params(max_tokens);
  sampling.temperature = 1;
  sampling.seed = seed;
  return sampling;
}

// A short prompt is absorbed, a long one expanded; both end inside a page.
TEST_F(ChoicesTest, AreTheAnswersOfSingleRequests) {
  for (const size_t length : {size_t{7}, size_t{180}}) {
    std::vector<int32_t> prompt(length);
    for (size_t i = 0; i < length; ++i) prompt[i] = static_cast<int32_t>(i * i % 39);
    constexpr int32_t kChoices = 11;  // more than run at once
    std::vector<Request> singles;
    for (int32_t i = 0; i < kChoices; ++i) singles.push_back({prompt, sampled(9, choice_seed(5, i))});
    const std::vector<Answer> want = run_all(*engine_, singles);
    EXPECT_EQ(choice_seed(5, 0), 5u);
    EXPECT_NE(want[0], want[1]);
    std::map<int32_t, Told> told;
    submit({.prompt_ids = prompt, .sampling = sampled(9, 5), .n = kChoices, .cache_salt = "new"}, told);
    finish();
    ASSERT_EQ(told.size(), static_cast<size_t>(kChoices));
    for (int32_t i = 0; i < kChoices; ++i) {
      EXPECT_EQ(told[i].answer, want[static_cast<size_t>(i)]) << length << " choice " << i;
      EXPECT_EQ(told[i].num_ends, 1);
      // The full pages of the prompt, which the first one computed; the rest is too short to copy.
      EXPECT_EQ(told[i].num_cached_tokens, i == 0 ? 0 : static_cast<int64_t>(length) / 16 * 16) << i;
    }
  }
}

TEST_F(ChoicesTest, CancelEndsAllOnce) {
  std::map<int32_t, Told> told;
  const RequestId id = submit({.prompt_ids = {5, 6, 7}, .sampling = sampled(100, 1), .n = 12}, told);
  EXPECT_TRUE(engine_->is_waiting(id, 0));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(engine_->step().ok());
  EXPECT_FALSE(engine_->is_waiting(id, 0));
  EXPECT_TRUE(engine_->is_waiting(id, 11));
  engine_->cancel(id + 1);  // no request's
  EXPECT_EQ(told[1].num_ends, 0);
  engine_->cancel(id);
  ASSERT_EQ(told.size(), 12u);
  for (const auto& [choice, got] : told) {
    EXPECT_EQ(got.num_ends, 1);
    EXPECT_EQ(got.reason, FinishReason::kCancelled);
  }
  finish();
  EXPECT_EQ(engine_->statistics().pages_used, 0);
}

TEST_F(ChoicesTest, ListenersMayCancelTheirOwnRequest) {
  int ends = 0;
  RequestId id = 0;
  id = *engine_->submit({.prompt_ids = {5, 6}, .sampling = sampled(20, 1), .n = 5},
                        [&](const RequestEvent& event) {
                          ends += event.finish_reason != FinishReason::kNone;
                          if (event.choice == 2) engine_->cancel(id);
                        });
  finish();
  EXPECT_EQ(ends, 5);
}

TEST_F(ChoicesTest, SaltsShareNothing) {
  const std::vector<int32_t> prompt(97, 7);
  const auto cached = [&](const std::string& salt) {
    std::map<int32_t, Told> told;
    submit({.prompt_ids = prompt, .sampling = greedy_params(2), .cache_salt = salt}, told);
    finish();
    return told[0].num_cached_tokens;
  };
  EXPECT_EQ(cached("a"), 0);
  EXPECT_EQ(cached("a"), 96);
  EXPECT_EQ(cached("b"), 0);
  EXPECT_EQ(cached(""), 0);
  EXPECT_EQ(cached("b"), 96);
}

// The second in line goes first.
TEST_F(ChoicesTest, PrioritiesReachTheScheduler) {
  std::vector<int32_t> order;
  for (int32_t i = 0; i < 9; ++i) {
    ASSERT_TRUE(engine_
                    ->submit({.prompt_ids = {i}, .sampling = greedy_params(9), .priority = i == 8 ? -1 : 0},
                             [&order, i](const RequestEvent&) { order.push_back(i); })
                    .ok());
  }
  ASSERT_TRUE(engine_->step().ok());
  finish();
  EXPECT_EQ(order[0], 8);
}

// The prompt is scored once, although all but the first choice find it in the cache.
TEST_F(ChoicesTest, ScoresComeWithTheFirstChoice) {
  const std::vector<int32_t> prompt = {3, 1, 4, 1, 5, 9, 2, 6};
  int num_scores = 0;
  const Request request{
      .prompt_ids = prompt, .sampling = sampled(3, 1), .scoring = {.first = 1, .num_top = 2}, .n = 3};
  for (int round = 1; round <= 2; ++round) {
    ASSERT_TRUE(engine_
                    ->submit(request,
                             [&](const RequestEvent& event) {
                               if (event.prompt_scores == nullptr) return;
                               ++num_scores;
                               EXPECT_EQ(event.choice, 0);
                               EXPECT_EQ(event.num_cached_tokens, 0);  // computed, in the second round too
                               EXPECT_EQ(event.prompt_scores->top_logprobs.size(), prompt.size() - 1);
                             })
                    .ok());
    finish();
    EXPECT_EQ(num_scores, round);
  }
}

TEST_F(ChoicesTest, RefusesNone) {
  const auto status =
      engine_->submit({.prompt_ids = {1}, .sampling = greedy_params(1), .n = 0}, [](const RequestEvent&) {})
          .status();
  EXPECT_EQ(status.message(), "n must be at least 1, is 0");
}

}  // namespace
}  // namespace fathom::testing
