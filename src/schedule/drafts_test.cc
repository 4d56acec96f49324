// Speculation: what is computed of drafts, and what stays.
#include <gtest/gtest.h>

#include "schedule/test_support.h"

namespace fathom {
namespace {

const std::vector<int32_t> kDrafts = {11, 12, 13};

class Drafts : public ::testing::Test {
 protected:
  // A sequence with `prompt_len` tokens of prompt and one generated one.
  SequenceId start(Scheduler& scheduler, int64_t prompt_len, int64_t max_tokens) {
    const SequenceId id = submit_one(scheduler, prompt_len, max_tokens);
    commit_all(scheduler, scheduler.plan());
    return id;
  }
  void commit(Scheduler& scheduler, const std::vector<int32_t>& tokens, const std::vector<int32_t>& counts) {
    scheduler.commit(tokens, counts);
    const Status status = scheduler.check_integrity();
    EXPECT_TRUE(status.ok()) << status.message();
  }
};

TEST_F(Drafts, AreComputedBehindTheKnownTokenAndKeptAsFarAsTheyHold) {
  PagePool pool(40, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 16}, pool, test_hash());
  const SequenceId id = start(scheduler, 5, 100);
  scheduler.set_drafts(id, kDrafts);
  EXPECT_EQ(describe(scheduler.plan()), "1:5-9****");
  EXPECT_EQ(scheduler.find(id)->drafts, kDrafts);
  commit(scheduler, {11, 12, 50}, {3});
  EXPECT_EQ(scheduler.find(id)->num_computed, 8);
  EXPECT_EQ(scheduler.find(id)->num_tokens(), 9);
  EXPECT_EQ(scheduler.find(id)->tokens.back(), 50);
  EXPECT_TRUE(scheduler.find(id)->drafts.empty());
  EXPECT_EQ(describe(scheduler.plan()), "1:8-9*");  // drafts are for one plan
  commit(scheduler, {7}, {1});
}

TEST_F(Drafts, PagesOfThoseThatFailedGoBack) {
  PagePool pool(4, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 16}, pool, test_hash());
  const SequenceId id = start(scheduler, 5, 100);
  scheduler.set_drafts(id, kDrafts);
  (void)scheduler.plan();
  EXPECT_EQ(pool.num_used(), 3);
  commit(scheduler, {50}, {1});
  EXPECT_EQ(pool.num_used(), 2);
}

TEST_F(Drafts, AreTrimmedToTheEnd) {
  PagePool pool(40, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 16}, pool, test_hash());
  const SequenceId id = start(scheduler, 5, 4);  // 6 of 9 tokens
  scheduler.set_drafts(id, kDrafts);
  EXPECT_EQ(describe(scheduler.plan()), "1:5-8***");
  commit(scheduler, {11, 12, 13}, {3});
  EXPECT_EQ(scheduler.find(id)->finish_reason, FinishReason::kLength);
  EXPECT_EQ(scheduler.find(id)->num_tokens(), 9);
}

// Generated tokens, then every prompt's least chunk, come before drafts; drafts before the rest.
TEST_F(Drafts, AreTrimmedToTheBudget) {
  PagePool pool(40, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 8, .min_chunk_tokens = 3}, pool,
                      test_hash());
  const SequenceId first = start(scheduler, 1, 100);
  const SequenceId second = start(scheduler, 1, 100);
  submit_one(scheduler, 50, 1);
  scheduler.set_drafts(first, std::vector<int32_t>{1, 2});
  scheduler.set_drafts(second, kDrafts);
  EXPECT_EQ(describe(scheduler.plan()), "1:2-5*** 2:1-3** 3:0-3");
  EXPECT_EQ(scheduler.find(second)->drafts, std::vector<int32_t>{11});
  commit(scheduler, {7, 7}, {1, 1});
}

TEST_F(Drafts, ReservePagesButForOneToEachThatRuns) {
  PagePool pool(6, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 16}, pool, test_hash());
  const SequenceId first = start(scheduler, 3, 100);
  const SequenceId second = start(scheduler, 3, 100);
  EXPECT_EQ(scheduler.find(first)->num_tokens(), 5);
  EXPECT_EQ(pool.num_free(), 4);
  EXPECT_EQ(scheduler.reserve_drafts(99, 4), 0);
  EXPECT_EQ(scheduler.reserve_drafts(first, 2), 2);
  EXPECT_EQ(scheduler.reserve_drafts(first, 100), 7) << "three pages, two stay free";
  EXPECT_EQ(pool.num_free(), 2);
  EXPECT_EQ(scheduler.reserve_drafts(second, 100), 0);
  EXPECT_TRUE(scheduler.check_integrity().ok());
  EXPECT_EQ(describe(scheduler.plan()), "1:4-5* 2:3-4*");
  commit(scheduler, {50, 50}, {1, 1});
  EXPECT_EQ(pool.num_used(), 3) << "what was not drafted has gone back";
}

// Of a free page they take what there is, and nobody else's.
TEST_F(Drafts, PreemptNobody) {
  PagePool pool(3, 2);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 16}, pool, test_hash());
  const SequenceId first = submit_one(scheduler, 1, 2);
  const SequenceId second = submit_one(scheduler, 2, 3);
  commit_all(scheduler, scheduler.plan());
  EXPECT_TRUE(scheduler.cancel(first));
  EXPECT_EQ(scheduler.find(second)->num_tokens(), 3);
  const SequenceId third = submit_one(scheduler, 1, 2);
  scheduler.set_drafts(second, kDrafts);
  EXPECT_EQ(describe(scheduler.plan()), "2:2-4** 3:0-1*");
  EXPECT_EQ(scheduler.find(third)->state, SequenceState::kRunning);
  commit(scheduler, {11, 5, 5}, {2, 1});
  EXPECT_EQ(scheduler.statistics().num_preemptions, 0);
}

// What was computed for drafts that failed is never found.
TEST_F(Drafts, AreNotIndexedBeforeTheyHold) {
  PagePool pool(40, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 64, .min_copy_tokens = 1}, pool,
                      test_hash());
  const SequenceId id = scheduler.submit({.prompt = make_prompt(5), .max_tokens = 100}).value().front();
  commit_all(scheduler, scheduler.plan());
  scheduler.set_drafts(id, kDrafts);
  (void)scheduler.plan();
  EXPECT_TRUE(scheduler.cancel(id));
  commit(scheduler, {11, 12, 13, 14}, {4});
  std::vector<int32_t> prompt = make_prompt(5);
  prompt.insert(prompt.end(), {7, 11, 12, 13, 14});
  const SequenceId other = scheduler.submit({.prompt = prompt, .max_tokens = 1}).value().front();
  commit_all(scheduler, scheduler.plan());
  EXPECT_EQ(scheduler.find(other)->num_cached, 5);
}

TEST_F(Drafts, CountOnlyBesideOneGeneratedToken) {
  PagePool pool(40, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 4}, pool, test_hash());
  const SequenceId id = submit_one(scheduler, 6, 100);
  scheduler.set_drafts(id, kDrafts);
  scheduler.set_drafts(id + 1, kDrafts);
  for (const char* expected : {"1:0-4", "1:4-6*", "1:6-7*"}) {
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    EXPECT_TRUE(scheduler.find(id)->drafts.empty());
    commit_all(scheduler, plan);
  }
}

TEST_F(Drafts, OnlyDraftedTokensStandBeforeTheLast) {
  PagePool pool(40, 4);
  Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 16}, pool, test_hash());
  const SequenceId id = start(scheduler, 5, 100);
  scheduler.set_drafts(id, kDrafts);
  (void)scheduler.plan();
  EXPECT_DEATH(commit(scheduler, {11, 99, 13}, {3}), "not drafted");
  EXPECT_DEATH(commit(scheduler, {11, 12, 13, 14, 15}, {5}), "5 tokens for 4 rows");
}

}  // namespace
}  // namespace fathom
