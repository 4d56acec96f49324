#include "schedule/scheduler.h"

#include <gtest/gtest.h>

#include <numeric>

namespace fathom {
namespace {

std::vector<int32_t> make_prompt(int64_t length) {
  std::vector<int32_t> prompt(static_cast<size_t>(length));
  std::iota(prompt.begin(), prompt.end(), 0);
  return prompt;
}

// Commits token 7 for every wanted row.
void commit_all(Scheduler& scheduler, const BatchPlan& plan) {
  scheduler.commit(std::vector<int32_t>(static_cast<size_t>(plan.num_logits), 7));
  const Status status = scheduler.check_integrity();
  ASSERT_TRUE(status.ok()) << status.message();
}

// "id:begin-end" per segment, with a star where logits are wanted.
std::string describe(const BatchPlan& plan) {
  std::string text;
  for (const Segment& segment : plan.segments) {
    if (!text.empty()) text += ' ';
    text += fmt::format("{}:{}-{}{}", segment.sequence_id, segment.begin, segment.end,
                        segment.wants_logits ? "*" : "");
  }
  return text;
}

TEST(SchedulerConfig, RefusesWhatCannotRun) {
  EXPECT_TRUE(SchedulerConfig().validate().ok());
  SchedulerConfig config;
  config.max_num_batched_tokens = config.max_num_seqs;
  EXPECT_TRUE(config.validate().ok());
  --config.max_num_batched_tokens;
  EXPECT_EQ(config.validate().message(), "max_num_batched_tokens must be at least max_num_seqs 256, is 255");
  EXPECT_FALSE(SchedulerConfig{.max_num_seqs = 0}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.max_num_waiting = 0}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.min_chunk_tokens = 0}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.max_model_len = 1}.validate().ok());
}

TEST(Scheduler, SubmitNamesLimitAndValue) {
  PagePool pool(4, 8);
  Scheduler scheduler({.max_num_waiting = 2, .max_model_len = 20}, pool);
  EXPECT_EQ(scheduler.submit({}, 1).status().message(), "the prompt is empty");
  EXPECT_EQ(scheduler.submit(make_prompt(3), 0).status().message(), "max_tokens must be at least 1, is 0");
  EXPECT_EQ(scheduler.submit(make_prompt(20), 1).status().message(),
            "the prompt must have fewer tokens than max_model_len 20, has 20");
  EXPECT_TRUE(scheduler.submit(make_prompt(19), 1).ok());
  EXPECT_TRUE(scheduler.submit(make_prompt(1), 1).ok());
  const Status full = scheduler.submit(make_prompt(1), 1).status();
  EXPECT_EQ(full.code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(full.message(), "2 requests wait, max_num_waiting is 2");

  PagePool small_pool(4, 8);
  Scheduler small(SchedulerConfig(), small_pool);
  EXPECT_EQ(small.submit(make_prompt(33), 1).status().message(),
            "the prompt needs 5 cache pages, the cache has 4 of 8 tokens");
  EXPECT_TRUE(small.submit(make_prompt(32), 1).ok());
}

TEST(Scheduler, NothingToDoIsAnEmptyPlan) {
  PagePool pool(2);
  Scheduler scheduler(SchedulerConfig(), pool);
  EXPECT_TRUE(scheduler.idle());
  const BatchPlan& plan = scheduler.plan();
  EXPECT_EQ(describe(plan), "");
  EXPECT_EQ(plan.num_tokens, 0);
  commit_all(scheduler, plan);
}

TEST(Scheduler, OneSequenceInChunksThenTokens) {
  PagePool pool(4, 8);
  Scheduler scheduler({.max_num_seqs = 2, .max_num_batched_tokens = 4, .min_chunk_tokens = 2}, pool);
  const SequenceId id = scheduler.submit(make_prompt(9), 3).value();
  for (const char* expected : {"1:0-4", "1:4-8", "1:8-9*", "1:9-10*", "1:10-11*"}) {
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    commit_all(scheduler, plan);
  }
  EXPECT_TRUE(scheduler.idle());
  ASSERT_NE(scheduler.find(id), nullptr);
  EXPECT_EQ(scheduler.find(id)->finish_reason, FinishReason::kLength);
  EXPECT_EQ(scheduler.find(id)->num_tokens(), 12);
  EXPECT_EQ(pool.num_used(), 0);
  commit_all(scheduler, scheduler.plan());
  EXPECT_EQ(scheduler.find(id), nullptr);
}

// Decode first, then every prompt its least chunk, then the rest to the oldest.
TEST(Scheduler, LongPromptsShareTheBudget) {
  PagePool pool(100, 8);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 10, .min_chunk_tokens = 3}, pool);
  ASSERT_TRUE(scheduler.submit(make_prompt(1), 100).ok());
  commit_all(scheduler, scheduler.plan());
  for (int64_t length : {20, 20, 2, 5}) ASSERT_TRUE(scheduler.submit(make_prompt(length), 9).ok());
  for (const char* expected :
       {"1:1-2* 2:0-4 3:0-3 4:0-2*", "1:2-3* 4:2-3* 2:4-9 3:3-6", "1:3-4* 4:3-4* 2:9-14 3:6-9"}) {
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    EXPECT_EQ(plan.num_tokens, 10);
    commit_all(scheduler, plan);
  }
}

// A page to grow for each running sequence and for the new one, or the new one waits.
TEST(Scheduler, AdmissionLeavesRoomToGrow) {
  for (int32_t num_pages : {4, 5}) {
    PagePool pool(num_pages, 2);
    Scheduler scheduler(SchedulerConfig(), pool);
    ASSERT_TRUE(scheduler.submit(make_prompt(4), 1).ok());
    ASSERT_TRUE(scheduler.submit(make_prompt(2), 1).ok());
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), num_pages == 4 ? "1:0-4*" : "1:0-4* 2:0-2*");
    commit_all(scheduler, plan);
  }
}

// A sequence that a step could give no token holds no pages either.
TEST(Scheduler, AdmissionNeedsATokenInTheStep) {
  for (int64_t min_chunk_tokens : {3, 4}) {
    PagePool pool(100, 2);
    Scheduler scheduler(
        {.max_num_seqs = 4, .max_num_batched_tokens = 4, .min_chunk_tokens = min_chunk_tokens}, pool);
    ASSERT_TRUE(scheduler.submit(make_prompt(8), 1).ok());
    const SequenceId second = scheduler.submit(make_prompt(8), 1).value();
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), min_chunk_tokens == 4 ? "1:0-4" : "1:0-3 2:0-1");
    EXPECT_EQ(scheduler.find(second)->pages.pages().empty(), min_chunk_tokens == 4);
    commit_all(scheduler, plan);
  }
}

TEST(Scheduler, ContextEndFinishesWithLength) {
  PagePool pool(4, 8);
  Scheduler scheduler({.max_model_len = 5}, pool);
  const SequenceId id = scheduler.submit(make_prompt(4), 100).value();
  commit_all(scheduler, scheduler.plan());
  EXPECT_EQ(scheduler.find(id)->finish_reason, FinishReason::kLength);
  EXPECT_EQ(scheduler.find(id)->num_tokens(), 5);
}

TEST(Scheduler, PoolEndFinishesWithLength) {
  PagePool pool(2, 2);
  Scheduler scheduler(SchedulerConfig(), pool);
  const SequenceId id = scheduler.submit(make_prompt(3), 100).value();
  commit_all(scheduler, scheduler.plan());
  commit_all(scheduler, scheduler.plan());
  EXPECT_EQ(scheduler.find(id)->finish_reason, FinishReason::kLength);
  EXPECT_EQ(scheduler.find(id)->num_tokens(), 5);
}

// The newest gives way, keeps its generated tokens, and its prompt and generated tokens are computed again in
// segments of their own.
TEST(Scheduler, PreemptsTheNewestAndRecomputesIt) {
  PagePool pool(6, 2);
  Scheduler scheduler({.max_num_seqs = 2, .max_num_batched_tokens = 16}, pool);
  const SequenceId first = scheduler.submit(make_prompt(2), 8).value();
  const SequenceId second = scheduler.submit(make_prompt(2), 7).value();
  int64_t num_steps = 0;
  while (scheduler.statistics().num_preemptions == 0) {
    ASSERT_LT(++num_steps, 20);
    commit_all(scheduler, scheduler.plan());
  }
  EXPECT_EQ(scheduler.find(first)->state, SequenceState::kRunning);
  EXPECT_EQ(scheduler.find(second)->state, SequenceState::kWaiting);
  const int64_t known = scheduler.find(second)->num_tokens();
  EXPECT_GT(known, 3);
  while (scheduler.find(first) != nullptr) commit_all(scheduler, scheduler.plan());
  EXPECT_EQ(scheduler.find(second)->num_tokens(), known);
  EXPECT_EQ(scheduler.find(second)->num_computed, 2);
  const BatchPlan& plan = scheduler.plan();
  EXPECT_EQ(describe(plan), fmt::format("2:2-{}*", known));
  commit_all(scheduler, plan);
}

TEST(Scheduler, FinishInEveryState) {
  PagePool pool(8, 4);
  Scheduler scheduler({.max_num_seqs = 1, .max_num_batched_tokens = 4}, pool);
  const SequenceId running = scheduler.submit(make_prompt(4), 1).value();
  const SequenceId waiting = scheduler.submit(make_prompt(4), 9).value();
  const SequenceId last = scheduler.submit(make_prompt(4), 9).value();
  EXPECT_FALSE(scheduler.cancel(last + 1));
  EXPECT_TRUE(scheduler.cancel(waiting));
  commit_all(scheduler, scheduler.plan());
  EXPECT_EQ(scheduler.find(running)->finish_reason, FinishReason::kLength);
  EXPECT_TRUE(scheduler.finish(running, FinishReason::kStop));  // found in the last token's text
  EXPECT_EQ(scheduler.find(running)->finish_reason, FinishReason::kStop);
  const BatchPlan& plan = scheduler.plan();
  EXPECT_EQ(describe(plan), "3:0-4*");
  EXPECT_TRUE(scheduler.finish(last, FinishReason::kError));  // while the step runs
  EXPECT_EQ(pool.num_used(), 0);
  commit_all(scheduler, plan);
  EXPECT_EQ(scheduler.find(last)->num_tokens(), 4);
  EXPECT_TRUE(scheduler.idle());
}

TEST(SchedulerDeathTest, PlanAndCommitAlternate) {
  PagePool pool(2);
  Scheduler scheduler(SchedulerConfig(), pool);
  EXPECT_DEATH(scheduler.commit({}), "no plan to commit");
  (void)scheduler.plan();
  EXPECT_DEATH((void)scheduler.plan(), "is not committed");
  EXPECT_DEATH(scheduler.commit(std::vector<int32_t>{1}), "1 sampled tokens for 0 rows");
}

}  // namespace
}  // namespace fathom
