// Several pools: which one a sequence gets, and that each stands for itself.
#include <gtest/gtest.h>

#include <memory>

#include "schedule/test_support.h"

namespace fathom {
namespace {

class Homes : public ::testing::Test {
 protected:
  void start(size_t num_homes, int32_t num_pages, int32_t block_size, const SchedulerConfig& config = {}) {
    std::vector<PagePool*> borrowed;
    for (size_t i = 0; i < num_homes; ++i) {
      pools_.push_back(std::make_unique<PagePool>(num_pages, block_size));
      borrowed.push_back(pools_.back().get());
    }
    scheduler_ = std::make_unique<Scheduler>(config, borrowed, test_hash());
  }

  std::vector<SequenceId> submit(std::vector<int32_t> prompt, int64_t max_tokens, int64_t num_sequences = 1) {
    return scheduler_
        ->submit({.prompt = std::move(prompt), .max_tokens = max_tokens, .num_sequences = num_sequences})
        .value();
  }
  void step() { commit_all(*scheduler_, scheduler_->plan()); }
  void run_to_the_end() {
    run_while(*scheduler_, [this] { return !scheduler_->idle(); });
  }
  const Sequence& sequence(SequenceId id) const { return *scheduler_->find(id); }
  bool runs(SequenceId id) const { return sequence(id).state == SequenceState::kRunning; }

  std::vector<std::unique_ptr<PagePool>> pools_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST_F(Homes, StrangersSpread) {
  start(3, 20, 4);
  std::vector<int64_t> homes;
  std::vector<SequenceId> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(submit_one(*scheduler_, 8, 4));
  step();
  for (SequenceId id : ids) homes.push_back(sequence(id).home);
  EXPECT_EQ(homes, (std::vector<int64_t>{0, 1, 2, 0, 1, 2}));
}

TEST_F(Homes, EachHasAsManyPagesAsOnePool) {
  start(4, 5, 4);
  std::vector<SequenceId> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(submit_one(*scheduler_, 20, 1));  // a whole pool each
  const SequenceId late = submit_one(*scheduler_, 20, 1);
  scheduler_->plan();
  EXPECT_EQ(scheduler_->statistics().num_pages_used, 20);
  EXPECT_EQ(scheduler_->statistics().num_pages, 20);
  for (SequenceId id : ids) EXPECT_TRUE(runs(id)) << id;
  EXPECT_FALSE(runs(late));
  EXPECT_FALSE(scheduler_->submit({.prompt = make_prompt(21), .max_tokens = 1}).ok());
  scheduler_->commit(std::vector<int32_t>(4, 7), std::vector<int32_t>(4, 1));
  run_to_the_end();
}

TEST_F(Homes, AnswersToOnePromptStayWithIt) {
  start(2, 40, 4);
  const SequenceId other = submit_one(*scheduler_, 8, 10);
  const std::vector<SequenceId> ids = submit(make_prompt(18), 10, 3);
  step();
  step();
  EXPECT_EQ(sequence(other).home, 0);
  for (SequenceId id : ids) EXPECT_EQ(sequence(id).home, 1) << id;
  EXPECT_GT(scheduler_->statistics().num_cached_tokens, 30);
  run_to_the_end();
}

TEST_F(Homes, ThePrefixDrawsUntilItsHomeIsBusy) {
  start(2, 400, 4, {.max_num_seqs = 200});
  const std::vector<int32_t> prompt = make_prompt(41);
  submit(prompt, 1);
  step();
  std::vector<SequenceId> ids;
  for (int i = 0; i < 12; ++i) {
    std::vector<int32_t> longer = prompt;
    longer.push_back(1000 + i);
    ids.push_back(submit(longer, 20)[0]);
  }
  step();
  // Each adds 42 tokens to read; 40 to compute are worth 320.
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(sequence(ids[i]).home, 0) << i;
  EXPECT_EQ(sequence(ids[8]).home, 1);
  run_to_the_end();
}

TEST_F(Homes, NothingIsForgottenWhileAnotherHasBlankPages) {
  start(2, 8, 4);
  const std::vector<int32_t> first = make_prompt(24);
  submit(first, 1);
  run_to_the_end();
  const SequenceId second = submit(make_prompt(24, 500), 1)[0];
  scheduler_->plan();
  EXPECT_EQ(sequence(second).home, 1);
  scheduler_->commit(std::vector<int32_t>{7}, std::vector<int32_t>{1});
  EXPECT_EQ(scheduler_->statistics().num_evictions, 0);
  const SequenceId again = submit(first, 1)[0];
  scheduler_->plan();
  EXPECT_EQ(sequence(again).num_cached, 20);  // in whole pages
  scheduler_->commit(std::vector<int32_t>{7}, std::vector<int32_t>{1});
}

TEST_F(Homes, WhoNeedsAPageTakesItFromItsOwnHome) {
  start(2, 6, 4);
  const SequenceId calm = submit_one(*scheduler_, 13, 12, 5);  // the least urgent
  step();
  const SequenceId first = submit_one(*scheduler_, 7, 9, 0);
  const SequenceId second = submit_one(*scheduler_, 7, 9, 0);
  step();
  ASSERT_EQ(sequence(calm).home, 0);
  ASSERT_EQ(sequence(first).home, 1);
  ASSERT_EQ(sequence(second).home, 1);
  while (scheduler_->statistics().num_preemptions == 0) {
    ASSERT_TRUE(runs(first));
    step();
  }
  EXPECT_EQ(sequence(second).num_preemptions, 1);
  EXPECT_TRUE(runs(first));
  EXPECT_TRUE(runs(calm));
  run_to_the_end();
}

TEST_F(Homes, DraftsTakePagesOfTheirOwnHome) {
  start(2, 4, 4);
  const SequenceId large = submit_one(*scheduler_, 13, 3);
  const SequenceId small = submit_one(*scheduler_, 4, 9);
  step();
  ASSERT_NE(sequence(large).home, sequence(small).home);
  ASSERT_TRUE(sequence(small).is_decode());
  EXPECT_EQ(scheduler_->reserve_drafts(small, 5), 5);
  step();
  run_to_the_end();
}

}  // namespace
}  // namespace fathom
