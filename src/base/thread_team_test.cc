#include "base/thread_team.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>

#include "base/cpu_features.h"

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

TEST(ThreadTeam, OneThreadIsTheCaller) {
  ThreadTeam team(1);
  std::thread::id ran;
  team.run([&](int thread) {
    EXPECT_EQ(thread, 0);
    team.barrier();
    ran = std::this_thread::get_id();
  });
  EXPECT_EQ(ran, std::this_thread::get_id());
}

TEST(ThreadTeam, KnowsTheNodesOfItsThreads) {
  Placement placement = floating_placement(3);
  placement.threads[2].node = 1;
  placement.num_nodes = 2;
  const ThreadTeam team(placement);
  EXPECT_EQ(team.num_nodes(), 2);
  EXPECT_EQ(team.node_of(0), 0);
  EXPECT_EQ(team.node_of(2), 1);
  EXPECT_EQ(ThreadTeam(3).num_nodes(), 1);
}

TEST(ThreadTeam, PinsItsThreadsAndReleasesTheCaller) {
  const std::vector<int> before = affinity_of_this_thread().value();
  if (before.size() < 2) GTEST_SKIP() << "needs two CPUs";
  const Placement placement = choose_placement(2);
  ASSERT_TRUE(placement.pinned);
  {
    ThreadTeam team(placement);
    EXPECT_EQ(affinity_of_this_thread().value(), before) << "nobody is pinned before the first region";
    std::vector<int> cpus(2, -1);
    const auto read_cpu = [&](int thread) { cpus[static_cast<size_t>(thread)] = ::sched_getcpu(); };
    const std::vector<int> want = {placement.threads[0].cpu, placement.threads[1].cpu};
    team.run(read_cpu);
    EXPECT_EQ(cpus, want);
    EXPECT_EQ(affinity_of_this_thread().value(), std::vector<int>{want[0]});

    team.release_caller();
    EXPECT_EQ(affinity_of_this_thread().value(), before);
    std::thread([&] {
      cpus = {-1, -1};
      team.run(read_cpu);
      EXPECT_EQ(cpus, want) << "another caller is pinned too";
      team.release_caller();
      EXPECT_EQ(affinity_of_this_thread().value(), before);
    }).join();
    team.run(read_cpu);
  }
  EXPECT_EQ(affinity_of_this_thread().value(), before) << "the team has gone";
}

TEST(ThreadTeam, WorksWhereNoThreadCanBePinned) {
  Placement placement = floating_placement(3);
  placement.pinned = true;  // to CPU -1
  ThreadTeam team(placement);
  std::atomic<int> calls{0};
  team.run([&](int) { ++calls; });
  EXPECT_EQ(calls.load(), 3);
}

class ThreadTeamStress : public ::testing::TestWithParam<int> {};

// Pauses are longer than anyone spins, so that now the workers sleep between regions, now the caller at the
// end of one, now those who wait at a barrier; a lost wake-up hangs the test.
TEST_P(ThreadTeamStress, NoWakeUpIsLostAndNoWriteUnseen) {
  const int size = GetParam();
  ThreadTeam team(choose_placement(size));
  std::vector<int> values(static_cast<size_t>(size), 0);
  std::atomic<int> wrong{0};
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::microseconds(400)); };
  // Where threads share CPUs every region takes turns.
  const int num_regions = size > available_cpus() ? 1500 : 6000;
  for (int region = 1; region <= num_regions; ++region) {
    if (region % 50 == 0) pause();
    team.run([&](int thread) {
      const int late = region / 50 % size;
      if (region % 50 == 10 && thread == late) pause();
      values[static_cast<size_t>(thread)] = region;
      team.barrier();
      for (int value : values) wrong += value != region;
      if (region % 50 == 20 && thread == late) pause();
      team.barrier();
      values[static_cast<size_t>(thread)] = -region;
    });
    for (int value : values) wrong += value != -region;
  }
  EXPECT_EQ(wrong.load(), 0);
}

// Teams that end while their workers spin, sleep or have not yet begun.
TEST_P(ThreadTeamStress, EndsInAnyState) {
  for (int round = 0; round < 60; ++round) {
    ThreadTeam team(GetParam());
    std::atomic<int> calls{0};
    for (int region = 0; region < round % 3; ++region) team.run([&](int) { ++calls; });
    EXPECT_EQ(calls.load(), round % 3 * GetParam());
    if (round % 4 == 3) std::this_thread::sleep_for(std::chrono::microseconds(400));
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadTeamStress, ::testing::Values(1, 2, 3, 7));

}  // namespace
}  // namespace fathom
