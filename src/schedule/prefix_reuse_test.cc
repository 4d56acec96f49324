// What sequences take over from each other: pages, copies, forks.
#include <gtest/gtest.h>

#include "schedule/test_support.h"

namespace fathom {
namespace {

SequenceId submit(Scheduler& scheduler, SubmitOptions options) {
  return scheduler.submit(std::move(options)).value().front();
}

TEST(PrefixReuse, FullPagesAreSharedWithTheRunningAndTheGone) {
  PagePool pool(20, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 64}, pool, test_hash());
  const SequenceId first = submit(scheduler, {.prompt = make_prompt(10), .max_tokens = 4});
  commit_all(scheduler, scheduler.plan());
  const SequenceId second = submit(scheduler, {.prompt = make_prompt(11), .max_tokens = 1});
  const BatchPlan& plan = scheduler.plan();
  EXPECT_EQ(describe(plan), "1:10-11* 2:8-11*");
  EXPECT_EQ(scheduler.find(second)->pages.pages()[1], scheduler.find(first)->pages.pages()[1]);
  EXPECT_NE(scheduler.find(second)->pages.pages()[2], scheduler.find(first)->pages.pages()[2]);
  EXPECT_EQ(scheduler.find(second)->num_cached, 8);
  commit_all(scheduler, plan);
  run_while(scheduler, [&] { return !scheduler.idle(); });
  EXPECT_EQ(pool.num_used(), 0);
  submit(scheduler, {.prompt = make_prompt(9), .max_tokens = 1});
  const BatchPlan& later = scheduler.plan();
  EXPECT_EQ(describe(later), "3:8-9*");
  commit_all(scheduler, later);
  EXPECT_EQ(scheduler.statistics().num_prompt_tokens, 30);
  EXPECT_EQ(scheduler.statistics().num_cached_tokens, 16);
}

// The last token is computed for its logits, even if the page it is in is there: a copy of the others.
TEST(PrefixReuse, OneTokenIsLeftToCompute) {
  PagePool pool(20, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 64, .min_copy_tokens = 3}, pool,
                      test_hash());
  for (int i = 0; i < 2; ++i) {
    submit(scheduler, {.prompt = make_prompt(8), .max_tokens = 1});
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), i == 0 ? "1:0-8*" : "1>2:3 2:7-8*");
    commit_all(scheduler, plan);
  }
}

// A conversation goes on from its last token, in the middle of a page.
TEST(PrefixReuse, TheNextTurnFindsTheLastAnswer) {
  PagePool pool(20, 16);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 64, .min_copy_tokens = 2}, pool,
                      test_hash());
  const SequenceId first = submit(scheduler, {.prompt = make_prompt(20), .max_tokens = 5});
  run_while(scheduler, [&] { return !scheduler.idle(); });
  std::vector<int32_t> next = scheduler.find(first)->tokens;
  next.push_back(5);
  submit(scheduler, {.prompt = next, .max_tokens = 1});
  const BatchPlan& plan = scheduler.plan();
  // The last token of an answer was never computed, being nobody's input.
  EXPECT_EQ(describe(plan), "1>2:8 2:24-26*");
  commit_all(scheduler, plan);
}

TEST(PrefixReuse, ShortBeginningsAreComputedAgain) {
  for (int64_t min_copy_tokens : {5, 6}) {
    PagePool pool(20, 16);
    Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 64, .min_copy_tokens = min_copy_tokens},
                        pool, test_hash());
    submit(scheduler, {.prompt = make_prompt(12), .max_tokens = 1});
    commit_all(scheduler, scheduler.plan());
    std::vector<int32_t> other = make_prompt(12);
    other[5] = 99;
    submit(scheduler, {.prompt = other, .max_tokens = 1});
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), min_copy_tokens == 5 ? "0>1:5 2:5-12*" : "2:0-12*");
    commit_all(scheduler, plan);
  }
}

TEST(PrefixReuse, SaltsKeepUsersApart) {
  PagePool pool(20, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 64}, pool, test_hash());
  const std::pair<const char*, int64_t> requests[] = {{"a", 0}, {"b", 0}, {"", 0}, {"b", 8}};
  for (const auto& [salt, num_cached] : requests) {
    const SequenceId id = submit(scheduler, {.prompt = make_prompt(9), .max_tokens = 1, .salt = salt});
    commit_all(scheduler, scheduler.plan());
    EXPECT_EQ(scheduler.find(id)->num_cached, num_cached) << salt;
  }
}

// D1: a prompt's token that is expanded here and absorbed there has different bits.
TEST(PrefixReuse, FormsMustAgree) {
  PagePool pool(40, 4);
  Scheduler scheduler(
      {.max_num_seqs = 4, .max_num_batched_tokens = 64, .min_copy_tokens = 1, .expanded_prompt_tokens = 10},
      pool, test_hash());
  const auto num_cached = [&](int64_t prompt_len) {
    const SequenceId id = submit(scheduler, {.prompt = make_prompt(prompt_len), .max_tokens = 1});
    commit_all(scheduler, scheduler.plan());
    return scheduler.find(id)->num_cached;
  };
  EXPECT_EQ(num_cached(9), 0);
  EXPECT_EQ(num_cached(10), 0);
  EXPECT_EQ(num_cached(9), 8);
  EXPECT_EQ(num_cached(14), 10);
  EXPECT_EQ(num_cached(5), 4);
}

// Generated tokens are absorbed: as part of a long prompt they would be expanded.
TEST(PrefixReuse, AnAnswerIsNotAPromptOfTheOtherForm) {
  for (int64_t expanded_prompt_tokens : {10, 1000}) {
    PagePool pool(40, 4);
    Scheduler scheduler({.max_num_seqs = 4,
                         .max_num_batched_tokens = 64,
                         .min_copy_tokens = 1,
                         .expanded_prompt_tokens = expanded_prompt_tokens},
                        pool, test_hash());
    const SequenceId first = submit(scheduler, {.prompt = make_prompt(14), .max_tokens = 9});
    run_while(scheduler, [&] { return !scheduler.idle(); });
    const std::vector<int32_t> tokens = scheduler.find(first)->tokens;
    const SequenceId second = submit(scheduler, {.prompt = tokens, .max_tokens = 1});
    commit_all(scheduler, scheduler.plan());
    EXPECT_EQ(scheduler.find(second)->num_cached, expanded_prompt_tokens == 10 ? 14 : 22);
  }
}

// Followers wait without standing in anybody's way, then need one token each.
TEST(Fork, FollowersTakeThePromptOver) {
  PagePool pool(40, 4);
  Scheduler scheduler({.max_num_seqs = 8, .max_num_batched_tokens = 8, .min_copy_tokens = 1}, pool,
                      test_hash());
  const auto ids = scheduler.submit({.prompt = make_prompt(10), .max_tokens = 3, .num_sequences = 3}).value();
  EXPECT_EQ(ids, (std::vector<SequenceId>{1, 2, 3}));
  EXPECT_EQ(scheduler.statistics().num_waiting, 3);
  submit_one(scheduler, 2, 1);
  for (const char* expected :
       {"1:0-8", "1:8-10* 4:0-2*", "2>4:1 2>5:1 1:10-11* 2:9-10* 3:9-10*", "1:11-12* 2:10-11* 3:10-11*"}) {
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    commit_all(scheduler, plan);
  }
  EXPECT_EQ(scheduler.find(2)->num_cached, 9);
  EXPECT_EQ(scheduler.find(2)->pages.pages()[0], scheduler.find(3)->pages.pages()[0]);
}

TEST(Fork, TheNextFollowerReplacesALeaderThatEnds) {
  PagePool pool(40, 4);
  Scheduler scheduler({.max_num_seqs = 8, .max_num_batched_tokens = 8, .min_copy_tokens = 1}, pool,
                      test_hash());
  ASSERT_TRUE(scheduler.submit({.prompt = make_prompt(9), .max_tokens = 3, .num_sequences = 4}).ok());
  const BatchPlan& plan = scheduler.plan();
  EXPECT_EQ(describe(plan), "1:0-8");
  EXPECT_TRUE(scheduler.cancel(2));
  EXPECT_TRUE(scheduler.cancel(1));
  commit_all(scheduler, plan);
  for (const char* expected : {"3:0-8", "3:8-9*", "3:9-10* 4:8-9*"}) {
    const BatchPlan& next = scheduler.plan();
    EXPECT_EQ(describe(next), expected);
    commit_all(scheduler, next);
  }
}

TEST(Fork, EndsWithTheLeadersFirstToken) {
  PagePool pool(40, 4);
  Scheduler scheduler(SchedulerConfig(), pool, test_hash());
  ASSERT_TRUE(scheduler.submit({.prompt = make_prompt(9), .max_tokens = 1, .num_sequences = 2}).ok());
  for (const char* expected : {"1:0-9*", "2:8-9*", ""}) {
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    commit_all(scheduler, plan);
  }
}

// The source of a copy is held until the step is done, and no longer.
TEST(Copies, HoldTheirSource) {
  PagePool pool(3, 16);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 64, .min_copy_tokens = 2}, pool,
                      test_hash());
  submit(scheduler, {.prompt = make_prompt(12), .max_tokens = 1});
  commit_all(scheduler, scheduler.plan());
  const SequenceId second = submit(scheduler, {.prompt = make_prompt(10), .max_tokens = 1});
  const BatchPlan& plan = scheduler.plan();
  EXPECT_EQ(describe(plan), "0>1:9 2:9-10*");
  EXPECT_EQ(pool.num_used(), 2);
  EXPECT_TRUE(scheduler.cancel(second));
  EXPECT_EQ(pool.num_used(), 1);
  EXPECT_TRUE(scheduler.check_integrity().ok());
  commit_all(scheduler, plan);
  EXPECT_EQ(pool.num_used(), 0);
}

// Where the source is the very page that is missing, the beginning is computed instead.
TEST(Copies, GiveWayToTheirTarget) {
  PagePool pool(1, 16);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 64, .min_copy_tokens = 2}, pool,
                      test_hash());
  for (int i = 0; i < 2; ++i) {
    submit(scheduler, {.prompt = make_prompt(12), .max_tokens = 1});
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), i == 0 ? "1:0-12*" : "2:0-12*");
    commit_all(scheduler, plan);
  }
  EXPECT_EQ(scheduler.statistics().num_evictions, 1);
}

TEST(Copies, EndWithTheScheduler) {
  PagePool pool(3, 16);
  {
    Scheduler scheduler({.min_copy_tokens = 2}, pool, test_hash());
    submit(scheduler, {.prompt = make_prompt(12), .max_tokens = 1});
    commit_all(scheduler, scheduler.plan());
    submit(scheduler, {.prompt = make_prompt(10), .max_tokens = 1});
    EXPECT_EQ(scheduler.plan().copies.size(), 1u);
  }
  EXPECT_EQ(pool.num_used(), 0);
  EXPECT_EQ(pool.content(0), PageContent::kBlank);
}

}  // namespace
}  // namespace fathom
