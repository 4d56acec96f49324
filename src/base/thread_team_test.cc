#include "base/thread_team.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(StaticShare, CoversEverythingOnceAtStepMultiples) {
  for (int64_t total : {0, 1, 7, 64, 65, 1000}) {
    for (int64_t step : {1, 8, 64}) {
      for (int shares : {1, 2, 3, 7}) {
        int64_t next = 0;
        for (int i = 0; i < shares; ++i) {
          const IndexRange range = static_share(total, step, i, shares);
          ASSERT_EQ(range.begin, next);
          ASSERT_TRUE(range.begin % step == 0 || range.begin == total);
          next = range.end;
        }
        ASSERT_EQ(next, total);
      }
    }
  }
}

TEST(ThreadTeam, EveryThreadRunsEveryRegionOnce) {
  ThreadTeam team(4);
  std::vector<int> counts(4, 0);
  for (int i = 0; i < 2000; ++i) {
    team.run([&](int thread) { ++counts[static_cast<size_t>(thread)]; });
  }
  EXPECT_EQ(counts, std::vector<int>(4, 2000));
}

TEST(ThreadTeam, BarrierSeparatesPhases) {
  ThreadTeam team(3);
  std::vector<int> phase1(3, 0);
  std::atomic<int> wrong{0};
  for (int round = 1; round <= 500; ++round) {
    team.run([&](int thread) {
      phase1[static_cast<size_t>(thread)] = round;
      team.barrier();
      for (int value : phase1) wrong += value != round;
      team.barrier();
    });
  }
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace fathom
