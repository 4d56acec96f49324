// Who runs: room to grow, order of the line, preemption and its bound.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "schedule/test_support.h"

namespace fathom {
namespace {

bool runs(const Scheduler& scheduler, SequenceId id) {
  return scheduler.find(id)->state == SequenceState::kRunning;
}

// A page to grow for each running sequence and for the new one, if they will need it, or the new one waits.
TEST(Admission, LeavesRoomToGrow) {
  for (int32_t num_pages : {4, 5}) {
    PagePool pool(num_pages, 2);
    Scheduler scheduler(SchedulerConfig(), pool, test_hash());
    submit_one(scheduler, 4, 2);
    submit_one(scheduler, 2, 2);
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), num_pages == 4 ? "1:0-4*" : "1:0-4* 2:0-2*");
    commit_all(scheduler, plan);
  }
}

TEST(Admission, LeavesNoRoomForThoseThatDoNotGrow) {
  for (int32_t num_pages : {2, 3}) {
    PagePool pool(num_pages, 2);
    Scheduler scheduler(SchedulerConfig(), pool, test_hash());
    submit_one(scheduler, 4, 1);
    submit_one(scheduler, 1, 2);
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), num_pages == 2 ? "1:0-4*" : "1:0-4* 2:0-1*");
    commit_all(scheduler, plan);
  }
}

// Where the pool has room for all, all run at once and nobody is ever preempted.
TEST(Admission, AllRunWhereAllFit) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    const int64_t block_size = 1 + static_cast<int64_t>(random_bits(seed, 0) % 16);
    const int64_t count = 1 + static_cast<int64_t>(random_bits(seed, 1) % 20);
    std::vector<std::pair<int64_t, int64_t>> lengths;
    int64_t num_pages = 0;
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t bits = random_bits(seed, static_cast<uint64_t>(2 + i));
      lengths.emplace_back(1 + bits % 60, 1 + bits / 64 % 30);
      num_pages += (lengths.back().first + lengths.back().second - 1 + block_size - 1) / block_size;
    }
    PagePool pool(static_cast<int32_t>(num_pages), static_cast<int32_t>(block_size));
    Scheduler scheduler(SchedulerConfig(), pool, test_hash());
    for (const auto& [prompt_len, max_tokens] : lengths) submit_one(scheduler, prompt_len, max_tokens);
    commit_all(scheduler, scheduler.plan());
    ASSERT_EQ(scheduler.statistics().num_waiting, 0) << "seed " << seed;
    run_while(scheduler, [&] { return !scheduler.idle(); });
    ASSERT_EQ(scheduler.statistics().num_preemptions, 0) << "seed " << seed;
  }
}

TEST(Admission, PriorityThenArrival) {
  PagePool pool(100, 8);
  Scheduler scheduler({.max_num_seqs = 1, .max_num_batched_tokens = 8}, pool, test_hash());
  for (int32_t priority : {5, 5, -1, 0, -1}) submit_one(scheduler, 3, 1, priority);
  for (const char* expected : {"3:0-3*", "5:0-3*", "4:0-3*", "1:0-3*", "2:0-3*"}) {
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    commit_all(scheduler, plan);
  }
}

// However many urgent ones come, after max_wait_steps steps it is the others' turn, in order of arrival.
TEST(Admission, NobodyStarves) {
  PagePool pool(100, 8);
  Scheduler scheduler({.max_num_seqs = 1, .max_num_batched_tokens = 8, .max_wait_steps = 3}, pool,
                      test_hash());
  submit_one(scheduler, 3, 1, 9);
  submit_one(scheduler, 3, 1, 1);
  std::string order;
  for (int i = 0; i < 8; ++i) {
    submit_one(scheduler, 3, 1, 0);
    const BatchPlan& plan = scheduler.plan();
    order += std::to_string(plan.segments.front().sequence_id);
    commit_all(scheduler, plan);
  }
  // The first steps serve those that come; then 1 and 2 have starved, and after them, by arrival, everybody.
  EXPECT_EQ(order, "34512678");
}

// Of two the one submitted last gives way, keeps its generated tokens, and finds what it had computed.
TEST(Preemption, TheNewestGivesWayAndFindsItsPages) {
  PagePool pool(6, 2);
  Scheduler scheduler({.max_num_seqs = 2, .max_num_batched_tokens = 16}, pool, test_hash());
  const SequenceId first = submit_one(scheduler, 2, 8);
  const SequenceId second = submit_one(scheduler, 2, 7);
  run_while(scheduler, [&] { return scheduler.statistics().num_preemptions == 0; });
  EXPECT_TRUE(runs(scheduler, first));
  EXPECT_FALSE(runs(scheduler, second));
  const int64_t known = scheduler.find(second)->num_tokens();
  EXPECT_GT(known, 3);
  run_while(scheduler, [&] { return !runs(scheduler, second); });
  EXPECT_EQ(scheduler.find(second)->num_tokens(), known + 1);
  EXPECT_EQ(scheduler.find(second)->num_cached, 0);  // that counts the first admission only
  EXPECT_EQ(scheduler.statistics().num_prompt_tokens, 4);
}

TEST(Preemption, TheLeastUrgentGivesWay) {
  PagePool pool(6, 2);
  Scheduler scheduler({.max_num_seqs = 2, .max_num_batched_tokens = 16}, pool, test_hash());
  const SequenceId first = submit_one(scheduler, 2, 9, 1);
  const SequenceId second = submit_one(scheduler, 2, 9, 0);
  run_while(scheduler, [&] { return scheduler.statistics().num_preemptions == 0; });
  EXPECT_FALSE(runs(scheduler, first));
  EXPECT_TRUE(runs(scheduler, second));
}

// Its prompt and its generated tokens are computed again in segments of their own.
TEST(Preemption, RecomputesInSegmentsOfOneForm) {
  PagePool pool(4, 4);
  Scheduler scheduler({.max_num_seqs = 2, .max_num_batched_tokens = 16}, pool, test_hash());
  const SequenceId first = submit_one(scheduler, 2, 15);
  const SequenceId second = submit_one(scheduler, 2, 9);
  run_while(scheduler, [&] { return scheduler.statistics().num_preemptions == 0; });
  EXPECT_EQ(scheduler.find(second)->num_tokens(), 9);
  // The first takes all pages, so that nothing is left to be found.
  run_while(scheduler, [&] { return scheduler.find(first)->state == SequenceState::kRunning; });
  for (const char* expected : {"2:0-2", "2:2-9*"}) {
    const BatchPlan& plan = scheduler.plan();
    EXPECT_EQ(describe(plan), expected);
    commit_all(scheduler, plan);
  }
}

// After so many preemptions a sequence runs only with all the pages it can come to need, and to its end.
TEST(Preemption, IsBounded) {
  for (int64_t max_preemptions : {0, 1, 3}) {
    PagePool pool(8, 1);
    Scheduler scheduler({.max_num_seqs = 4, .max_num_batched_tokens = 16, .max_preemptions = max_preemptions},
                        pool, test_hash());
    std::vector<SequenceId> ids;
    int64_t most = 0;
    int64_t num_submitted = 0;
    run_while(scheduler, [&] {
      for (; num_submitted < 40 && scheduler.statistics().num_waiting < 3; ++num_submitted)
        ids.push_back(
            submit_one(scheduler, 1 + num_submitted % 2, 7, static_cast<int32_t>(num_submitted % 3)));
      for (SequenceId id : ids) {
        const Sequence* sequence = scheduler.find(id);
        if (sequence != nullptr) most = std::max(most, sequence->num_preemptions);
      }
      return !scheduler.idle();
    });
    EXPECT_EQ(most, max_preemptions);
  }
}

}  // namespace
}  // namespace fathom
