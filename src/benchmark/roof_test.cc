#include "benchmark/roof.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/clock.h"
#include "base/memory_info.h"

namespace fathom {
namespace {

TierRates rates_of(double int8, double bfloat16) {
  return {.int8 = TierRates::Named{"avx2_int8", int8},
          .bfloat16 = TierRates::Named{"avx2_f32", bfloat16},
          .float32 = std::nullopt};
}

TEST(CeilingMeter, MeasuresAgainAndLeavesTheThreadAsItWas) {
  const auto affinity = affinity_of_this_thread();
  ASSERT_TRUE(affinity.ok());
  const auto meter = CeilingMeter::create(2, uint64_t{1} << 20);
  ASSERT_TRUE(meter.ok()) << meter.status().message();
  EXPECT_EQ((*meter)->num_threads(), 2);
  EXPECT_EQ((*meter)->read_bytes(), uint64_t{1} << 20);
  for (int i = 0; i < 2; ++i) {
    const CeilingMeter::Read read = (*meter)->read(1e-4);
    EXPECT_GT(read.rate.worst, 0);
    EXPECT_GE(read.rate.best, read.rate.median);
    EXPECT_GE(read.rate.num_passes, 9);  // three rounds of one, two and four streams
    const auto now = affinity_of_this_thread();
    ASSERT_TRUE(now.ok());
    EXPECT_EQ(*now, *affinity);
  }
}

// Passes of pieces, the last of which is not whole, end inside the memory; its end may not be read over.
TEST(CeilingMeter, APassMayReadAPiece) {
  const auto meter = CeilingMeter::create(2, uint64_t{5} << 20);
  ASSERT_TRUE(meter.ok());
  for (uint64_t piece : {uint64_t{1}, uint64_t{3} << 20, uint64_t{1} << 40}) {
    const CeilingMeter::Read read = (*meter)->read(1e-3, piece);
    EXPECT_GT(read.sustained, 0) << piece;
    EXPECT_GE(read.rate.num_passes, 15) << piece;  // three rounds of five ways
  }
}

TEST(CeilingMeter, TakesTheTimeItIsGiven) {
  const CpuFeatures features = detect_cpu_features();
  const auto meter = CeilingMeter::create(1, uint64_t{32} << 20);
  ASSERT_TRUE(meter.ok());
  // Other processes may hold up one measurement; hardly each of ten.
  double least_read = 1e9, least_compute = 1e9;
  for (int i = 0; i < 10; ++i) {
    const double begin = monotonic_seconds();
    (*meter)->read(0.03, uint64_t{1} << 20);
    const double between = monotonic_seconds();
    for (const kernels::ComputeProbe& probe : kernels::compute_probes()) {
      if (!probe.available(features)) continue;
      (*meter)->compute(probe, 0.03);
      break;
    }
    least_read = std::min(least_read, between - begin);
    least_compute = std::min(least_compute, monotonic_seconds() - between);
  }
  EXPECT_LT(least_read, 0.045);
  EXPECT_LT(least_compute, 0.045);
}

// As an engine does: its team keeps the caller on one CPU, and so it stays, but both CPUs measure.
TEST(CeilingMeter, WorksBesideATeamThatHasPinnedTheCaller) {
  const auto meter = CeilingMeter::create(2, uint64_t{1} << 20);
  ASSERT_TRUE(meter.ok());
  ThreadTeam team(choose_placement(2));
  team.run([](int) {});
  const auto pinned = affinity_of_this_thread();
  EXPECT_GT((*meter)->read(1e-4).rate.best, 0);
  const auto now = affinity_of_this_thread();
  ASSERT_TRUE(pinned.ok() && now.ok());
  EXPECT_EQ(*now, *pinned);
}

TEST(CeilingMeter, ReadsMoreThanTheCachesHoldAndNoMoreThanAllowed) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  const auto available = read_memory_info().available();
  if (available && *available < 8 * 512 * kMiB) GTEST_SKIP() << "little memory is free";
  EXPECT_EQ(choose_read_bytes(kMiB, 512 * kMiB), 256 * kMiB);
  EXPECT_EQ(choose_read_bytes(40 * kMiB, 512 * kMiB), 320 * kMiB);
  EXPECT_EQ(choose_read_bytes(400 * kMiB, 512 * kMiB), 512 * kMiB);
}

TEST(Roof, AMomentHasTheRatesThatWereAsked) {
  const CpuFeatures features = detect_cpu_features();
  if (!features.avx2) GTEST_SKIP() << "needs AVX2";
  const auto meter = CeilingMeter::create(1, uint64_t{1} << 20);
  ASSERT_TRUE(meter.ok());
  MomentOptions options{.probes = rates_of(1, 1), .read_seconds = 1e-4, .compute_seconds = 1e-4};
  options.probes.float32 = options.probes.bfloat16;
  const Moment moment = measure_moment(**meter, options);
  EXPECT_GT(moment.read_bytes_per_second, 0);
  EXPECT_EQ(moment.rates.int8->probe_name, "avx2_int8");
  EXPECT_GT(moment.rates.int8->ops_per_second, 1e6);
  EXPECT_EQ(moment.rates.float32->ops_per_second, moment.rates.bfloat16->ops_per_second);  // one probe
  options.probes = {};
  EXPECT_FALSE(measure_moment(**meter, options).rates.int8.has_value());
}

TEST(Roof, TheBetterOfTwoMoments) {
  const Moment a{.read_bytes_per_second = 10, .rates = rates_of(5, 3)};
  const Moment b{.read_bytes_per_second = 8, .rates = rates_of(6, 2)};
  const Moment better = better_of(a, b);
  EXPECT_EQ(better.read_bytes_per_second, 10);
  EXPECT_EQ(better.rates.int8->ops_per_second, 6);
  EXPECT_EQ(better.rates.bfloat16->ops_per_second, 3);
  EXPECT_FALSE(better.rates.float32.has_value());
}

TEST(Roof, NeededRates) {
  const TierRates all = rates_of(5, 3);
  EXPECT_TRUE(needed_rates(all, {.int8_pair = 1}).int8.has_value());
  EXPECT_FALSE(needed_rates(all, {.int8_pair = 1}).bfloat16.has_value());
  EXPECT_TRUE(needed_rates(all, {.attention = 1}).bfloat16.has_value());
}

TEST(Roof, TheLowerOfTwoLimits) {
  const Moment moment{.read_bytes_per_second = 10, .rates = rates_of(5, 3)};
  const auto reading = roof_of(100, {.int8 = 5}, moment);
  EXPECT_EQ(reading->seconds, 10);
  EXPECT_EQ(reading->limit, RoofLimit::kBandwidth);
  const auto computing = roof_of(100, {.int8 = 75}, moment);
  EXPECT_EQ(computing->seconds, 15);
  EXPECT_EQ(computing->limit, RoofLimit::kOperations);
  EXPECT_FALSE(roof_of(100, {.float32 = 1}, moment).has_value());
}

}  // namespace
}  // namespace fathom
