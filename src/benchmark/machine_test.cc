#include "benchmark/machine.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace fathom {
namespace {

TEST(Machine, ThreadCounts) {
  EXPECT_EQ(default_thread_counts(1, 1), (std::vector<int>{1}));
  EXPECT_EQ(default_thread_counts(2, 1), (std::vector<int>{1, 2}));
  EXPECT_EQ(default_thread_counts(16, 1), (std::vector<int>{1, 8, 16}));
  EXPECT_EQ(default_thread_counts(128, 2), (std::vector<int>{1, 32, 64, 128}));
}

TEST(Machine, MeasuresWhatTheCpuHas) {
  const auto machine =
      measure_machine({.thread_counts = {1, 2}, .seconds = 1e-3, .read_bytes = uint64_t{1} << 20}, nullptr);
  ASSERT_TRUE(machine.ok()) << machine.status().message();
  ASSERT_EQ(machine->threads.size(), 2u);
  for (const ThreadCeilings& ceilings : machine->threads) {
    EXPECT_GT(ceilings.read.best, 0);
    EXPECT_GE(ceilings.read.best, ceilings.read.median);
    EXPECT_GE(ceilings.read.median, ceilings.read.worst);
    EXPECT_EQ(ceilings.read_bytes, uint64_t{1} << 20);
    ASSERT_EQ(ceilings.probes.size(), kernels::compute_probes().size());
    for (const ProbeRate& entry : ceilings.probes) {
      EXPECT_EQ(entry.rate.has_value(), entry.probe->available(machine->features)) << entry.probe->name;
      if (entry.rate) {
        EXPECT_GT(entry.rate->best, 0) << entry.probe->name;
      }
    }
  }
}

TEST(Machine, RefusesWhatCannotBe) {
  EXPECT_EQ(measure_machine({.thread_counts = {0}}, nullptr).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(measure_machine({.seconds = 0}, nullptr).status().code(), ErrorCode::kInvalidArgument);
}

const kernels::ComputeProbe& probe_named(std::string_view name) {
  for (const kernels::ComputeProbe& probe : kernels::compute_probes()) {
    if (probe.name == name) return probe;
  }
  ADD_FAILURE() << name;
  return kernels::compute_probes().front();
}

ThreadCeilings ceilings_of(std::initializer_list<std::pair<const char*, double>> rates) {
  ThreadCeilings ceilings;
  for (const auto& [name, best] : rates) {
    ceilings.probes.push_back(
        {.probe = &probe_named(name), .rate = Rate{.best = best, .median = best, .worst = best}});
  }
  return ceilings;
}

TEST(Machine, TiersTakeTheirOwnInstructions) {
  const ThreadCeilings all = ceilings_of({{"amx_int8", 8},
                                          {"amx_bf16", 7},
                                          {"avx512_vnni", 6},
                                          {"avx512_bf16", 5},
                                          {"avx512_f32", 4},
                                          {"avx2_int8", 3},
                                          {"avx2_f32", 2}});
  EXPECT_EQ(tier_rates(all, Isa::kAmx).int8->probe_name, "amx_int8");
  EXPECT_EQ(tier_rates(all, Isa::kAmx).bfloat16->ops_per_second, 7);
  EXPECT_EQ(tier_rates(all, Isa::kAvx512).int8->probe_name, "avx512_vnni");
  EXPECT_EQ(tier_rates(all, Isa::kAvx512).bfloat16->probe_name, "avx512_bf16");
  EXPECT_EQ(tier_rates(all, Isa::kAvx512).float32->probe_name, "avx512_f32");
  EXPECT_EQ(tier_rates(all, Isa::kAvx2).bfloat16->probe_name, "avx2_f32");
  EXPECT_EQ(tier_rates(all, Isa::kReference).int8->probe_name, "avx2_int8");

  const ThreadCeilings early = ceilings_of({{"avx512_f32", 4}, {"avx2_int8", 3}, {"avx2_f32", 2}});
  EXPECT_EQ(tier_rates(early, Isa::kAvx512).int8->probe_name, "avx2_int8");
  EXPECT_EQ(tier_rates(early, Isa::kAvx512).bfloat16->probe_name, "avx512_f32");
  EXPECT_FALSE(tier_rates(ThreadCeilings{}, Isa::kAvx2).int8.has_value());
}

// Told before anything is measured, so that no others need be.
TEST(Machine, TheProbesOfATier) {
  CpuFeatures features;
  features.avx2 = true;
  EXPECT_EQ(tier_probes(features, Isa::kAmx).int8->probe_name, "avx2_int8");
  EXPECT_EQ(tier_probes(features, Isa::kAmx).bfloat16->probe_name, "avx2_f32");
  features.avx512 = true;
  EXPECT_EQ(tier_probes(features, Isa::kAmx).bfloat16->probe_name, "avx512_f32");
  EXPECT_EQ(tier_probes(features, Isa::kAvx2).bfloat16->probe_name, "avx2_f32");
  EXPECT_FALSE(tier_probes(CpuFeatures{}, Isa::kAvx2).float32.has_value());
}

TEST(Machine, TheBetterOfTwo) {
  MachineCeilings a, b;
  a.threads = {ceilings_of({{"avx2_int8", 3}, {"avx2_f32", 5}})};
  b.threads = {ceilings_of({{"avx2_int8", 4}, {"avx2_f32", 2}})};
  a.threads[0].read = {.best = 10, .median = 8, .worst = 7, .num_passes = 3};
  b.threads[0].read = {.best = 12, .median = 6, .worst = 5, .num_passes = 4};
  b.threads[0].read_way.num_streams = 4;
  const ThreadCeilings better = better_of(a, b).threads[0];
  EXPECT_EQ(better.read.best, 12);
  EXPECT_EQ(better.read.worst, 5);
  EXPECT_EQ(better.read_way.num_streams, 4);
  EXPECT_EQ(better.best_of("avx2_int8"), 4);
  EXPECT_EQ(better.best_of("avx2_f32"), 5);
  EXPECT_EQ(better.best_of("amx_int8"), std::nullopt);
}

}  // namespace
}  // namespace fathom
