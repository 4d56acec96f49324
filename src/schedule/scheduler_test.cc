#include "schedule/scheduler.h"

#include <gtest/gtest.h>

#include "schedule/test_support.h"

namespace fathom {
namespace {

TEST(SchedulerConfig, RefusesWhatCannotRun) {
  EXPECT_TRUE(SchedulerConfig().validate().ok());
  SchedulerConfig config;
  config.max_num_batched_tokens = config.max_num_seqs;
  EXPECT_TRUE(config.validate().ok());
  --config.max_num_batched_tokens;
  EXPECT_EQ(config.validate().message(), "max_num_batched_tokens must be at least max_num_seqs 256, is 255");
  EXPECT_EQ((SchedulerConfig{.max_num_seqs = 0}).validate().message(),
            "max_num_seqs must be at least 1, is 0");
  EXPECT_FALSE(SchedulerConfig{.max_num_waiting = 0}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.min_chunk_tokens = 0}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.max_prefill_tokens = -1}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.max_prefill_seqs = -1}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.max_model_len = 1}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.max_preemptions = -1}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.max_wait_steps = -1}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.min_copy_tokens = 0}.validate().ok());
  EXPECT_FALSE(SchedulerConfig{.expanded_prompt_tokens = 0}.validate().ok());
}

TEST(Scheduler, SubmitNamesLimitAndValue) {
  PagePool pool(4, 8);
  Scheduler scheduler({.max_num_waiting = 4, .max_model_len = 20}, pool, test_hash());
  const auto refusal = [&](int64_t prompt_len, int64_t max_tokens, int64_t num_sequences) {
    return scheduler
        .submit({.prompt = make_prompt(prompt_len), .max_tokens = max_tokens, .num_sequences = num_sequences})
        .status();
  };
  EXPECT_EQ(refusal(0, 1, 1).message(), "the prompt is empty");
  EXPECT_EQ(refusal(3, 0, 1).message(), "max_tokens must be at least 1, is 0");
  EXPECT_EQ(refusal(3, 1, 0).message(), "num_sequences must be at least 1, is 0");
  EXPECT_EQ(refusal(20, 1, 1).message(), "the prompt must have fewer tokens than max_model_len 20, has 20");
  EXPECT_EQ(refusal(3, 1, 5).message(), "0 sequences wait and 5 more come, max_num_waiting is 4");
  EXPECT_TRUE(refusal(19, 1, 1).ok());
  EXPECT_TRUE(refusal(1, 1, 2).ok());
  const Status full = refusal(1, 1, 2);
  EXPECT_EQ(full.code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(full.message(), "3 sequences wait and 2 more come, max_num_waiting is 4");
  EXPECT_TRUE(refusal(1, 1, 1).ok());

  PagePool small_pool(4, 8);
  Scheduler small(SchedulerConfig(), small_pool, test_hash());
  EXPECT_EQ(small.submit({.prompt = make_prompt(33)}).status().message(),
            "the prompt needs 5 cache pages, the cache has 4 of 8 tokens");
  EXPECT_TRUE(small.submit({.prompt = make_prompt(32)}).ok());
}

TEST(Scheduler, NothingToDoIsAnEmptyPlan) {
  PagePool pool(2);
  Scheduler scheduler(SchedulerConfig(), pool, test_hash());
  EXPECT_TRUE(scheduler.idle());
  const BatchPlan& plan = scheduler.plan();
  EXPECT_EQ(describe(plan), "");
  EXPECT_EQ(plan.num_tokens, 0);
  commit_all(scheduler, plan);
}

TEST(Scheduler, OneSequenceInChunksThenTokens) {
  PagePool pool(4, 8);
  Scheduler scheduler({.max_num_seqs = 2, .max_num_batched_tokens = 4, .min_chunk_tokens = 2}, pool,
                      test_hash());
  const SequenceId id = submit_one(scheduler, 9, 3);
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
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 10, .min_chunk_tokens = 3}, pool,
                      test_hash());
  submit_one(scheduler, 1, 100);
  commit_all(scheduler, scheduler.plan());
  for (int64_t length : {20, 20, 2, 5}) submit_one(scheduler, length, 9);
  for (const char* expected :
       {"1:1-2* 2:0-4 3:0-3 4:0-2*", "1:2-3* 4:2-3* 2:4-9 3:3-6", "1:3-4* 4:3-4* 2:9-14 3:6-9"}) {
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    EXPECT_EQ(plan.num_tokens, 10);
    commit_all(scheduler, plan);
  }
}

// What is left after the least chunks goes to the most urgent.
TEST(Scheduler, TheRestOfTheBudgetGoesByPriority) {
  PagePool pool(100, 8);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 10, .min_chunk_tokens = 2}, pool,
                      test_hash());
  submit_one(scheduler, 30, 9, 5);
  commit_all(scheduler, scheduler.plan());
  submit_one(scheduler, 30, 9, 1);
  const BatchPlan& plan = scheduler.plan();
  EXPECT_EQ(describe(plan), "1:10-12 2:0-8");
  commit_all(scheduler, plan);
}

TEST(Scheduler, PrefillTokensAreLimited) {
  PagePool pool(100, 8);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 20, .max_prefill_tokens = 7}, pool,
                      test_hash());
  submit_one(scheduler, 1, 100);
  commit_all(scheduler, scheduler.plan());
  submit_one(scheduler, 10, 9);
  const BatchPlan& plan = scheduler.plan();
  EXPECT_EQ(describe(plan), "1:1-2* 2:0-7");
  commit_all(scheduler, plan);
}

TEST(Scheduler, PrefillSequencesAreLimited) {
  PagePool pool(100, 8);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 8, .max_prefill_seqs = 1}, pool,
                      test_hash());
  submit_one(scheduler, 9, 9);
  submit_one(scheduler, 3, 9);
  for (const char* expected : {"1:0-8", "1:8-9*", "1:9-10* 2:0-3*"}) {
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    commit_all(scheduler, plan);
  }
}

// The engine may ask for less, down to one token of one prompt; generated tokens are not touched.
TEST(Scheduler, StepTokensLowerThePromptsShare) {
  PagePool pool(100, 8);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 10}, pool, test_hash());
  for (int i = 0; i < 2; ++i) submit_one(scheduler, 1, 100);
  commit_all(scheduler, scheduler.plan());
  submit_one(scheduler, 50, 9);
  const std::pair<int64_t, const char*> steps[] = {
      {6, "1:1-2* 2:1-2* 3:0-4"}, {0, "1:2-3* 2:2-3* 3:4-5"}, {100, "1:3-4* 2:3-4* 3:5-13"}};
  for (const auto& [num_tokens, expected] : steps) {
    scheduler.set_step_tokens(num_tokens);
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    commit_all(scheduler, plan);
  }
}

// A sequence that a step could give no token holds no pages either.
TEST(Scheduler, AdmissionNeedsATokenInTheStep) {
  for (int64_t min_chunk_tokens : {3, 4}) {
    PagePool pool(100, 2);
    Scheduler scheduler(
        {.max_num_seqs = 4, .max_num_batched_tokens = 4, .min_chunk_tokens = min_chunk_tokens}, pool,
        test_hash());
    submit_one(scheduler, 8, 1);
    const SequenceId second = submit_one(scheduler, 8, 1);
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), min_chunk_tokens == 4 ? "1:0-4" : "1:0-3 2:0-1");
    EXPECT_EQ(scheduler.find(second)->pages.pages().empty(), min_chunk_tokens == 4);
    commit_all(scheduler, plan);
  }
}

TEST(Scheduler, ContextEndFinishesWithLength) {
  PagePool pool(4, 8);
  Scheduler scheduler({.max_model_len = 5}, pool, test_hash());
  const SequenceId id = submit_one(scheduler, 4, 100);
  commit_all(scheduler, scheduler.plan());
  EXPECT_EQ(scheduler.find(id)->finish_reason, FinishReason::kLength);
  EXPECT_EQ(scheduler.find(id)->num_tokens(), 5);
}

TEST(Scheduler, PoolEndFinishesWithLength) {
  PagePool pool(2, 2);
  Scheduler scheduler(SchedulerConfig(), pool, test_hash());
  const SequenceId id = submit_one(scheduler, 3, 100);
  commit_all(scheduler, scheduler.plan());
  commit_all(scheduler, scheduler.plan());
  EXPECT_EQ(scheduler.find(id)->finish_reason, FinishReason::kLength);
  EXPECT_EQ(scheduler.find(id)->num_tokens(), 5);
}

TEST(Scheduler, FinishInEveryState) {
  PagePool pool(8, 4);
  Scheduler scheduler({.max_num_seqs = 1, .max_num_batched_tokens = 4}, pool, test_hash());
  const SequenceId running = submit_one(scheduler, 4, 1);
  const SequenceId waiting = submit_one(scheduler, 4, 9);
  const SequenceId last = submit_one(scheduler, 4, 9);
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

TEST(Scheduler, RecountFindsAPageThatNoSequenceHolds) {
  PagePool pool(6, 4);
  Scheduler scheduler({.max_num_seqs = 2, .max_num_batched_tokens = 8}, pool, test_hash());
  submit_one(scheduler, 5, 2);
  commit_all(scheduler, scheduler.plan());
  EXPECT_TRUE(scheduler.check_integrity().ok());
  const PageId stray = *pool.allocate();
  EXPECT_EQ(scheduler.check_integrity().code(), ErrorCode::kInvalidData);
  pool.release(stray);
  EXPECT_TRUE(scheduler.check_integrity().ok());
}

TEST(SchedulerDeathTest, PlanAndCommitAlternate) {
  PagePool pool(2);
  Scheduler scheduler(SchedulerConfig(), pool, test_hash());
  EXPECT_DEATH(scheduler.commit({}, {}), "no plan to commit");
  (void)scheduler.plan();
  EXPECT_DEATH((void)scheduler.plan(), "is not committed");
  EXPECT_DEATH(scheduler.set_drafts(1, {}), "while a step runs");
  const std::vector<int32_t> one = {1};
  EXPECT_DEATH(scheduler.commit(one, one), "1 counts for 0 segments");
  scheduler.commit({}, {});
  submit_one(scheduler, 2, 2);
  (void)scheduler.plan();
  EXPECT_DEATH(scheduler.commit(one, std::vector<int32_t>{2}), "2 tokens for 1 rows");
  EXPECT_DEATH(scheduler.commit({}, one), "0 tokens, 1 counted");
}

}  // namespace
}  // namespace fathom
