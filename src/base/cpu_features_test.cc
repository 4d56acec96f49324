#include "base/cpu_features.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

// A system laid out in a folder, with one file of the control group.
int cpus_with(const std::string& file, const std::string& text, const std::string& other = "",
              const std::string& other_text = "") {
  const testing::TempDir root;
  EXPECT_TRUE(make_directories(root.file("sys/fs/cgroup/cpu")).ok());
  root.write("sys/fs/cgroup/" + file, text);
  if (!other.empty()) root.write("sys/fs/cgroup/" + other, other_text);
  return available_cpus(root.path());
}

TEST(AvailableCpus, RespectsTheQuota) {
  const testing::TempDir empty;
  const int all = available_cpus(empty.path());
  EXPECT_GE(all, 1);
  EXPECT_EQ(cpus_with("cpu.max", "max 100000\n"), all);
  EXPECT_EQ(cpus_with("cpu.max", "100000 100000\n"), 1);
  EXPECT_EQ(cpus_with("cpu.max", "5000 100000\n"), 1);
  EXPECT_EQ(cpus_with("cpu.max", "100000000 100000\n"), all);
  EXPECT_EQ(cpus_with("cpu/cpu.cfs_quota_us", "-1\n", "cpu/cpu.cfs_period_us", "100000\n"), all);
  EXPECT_EQ(cpus_with("cpu/cpu.cfs_quota_us", "150000\n", "cpu/cpu.cfs_period_us", "100000\n"), 1);
}

TEST(Isa, NamesRoundTrip) {
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx})
    EXPECT_EQ(isa_from_name(isa_name(isa)), isa);
  EXPECT_FALSE(isa_from_name("sse9"));
}

TEST(CpuFeatures, BestIsaNeedsEveryPartOfATier) {
  CpuFeatures features;
  EXPECT_EQ(features.best_isa(), Isa::kReference);
  features.avx2 = true;
  EXPECT_EQ(features.best_isa(), Isa::kAvx2);
  features.avx512 = true;
  EXPECT_EQ(features.best_isa(), Isa::kAvx2) << "Skylake's avx512 has no VNNI";
  features.avx512_vnni = true;
  EXPECT_EQ(features.best_isa(), Isa::kAvx512);
  features.amx_in_cpu = features.amx_tile = features.amx_int8 = features.amx_bf16 = true;
  EXPECT_EQ(features.best_isa(), Isa::kAvx512) << "the amx tier has avx512_bf16";
  features.avx512_bf16 = true;
  EXPECT_EQ(features.best_isa(), Isa::kAmx);
  features.amx_tile = features.amx_int8 = features.amx_bf16 = false;
  EXPECT_EQ(features.best_isa(), Isa::kAvx512) << "the kernel refuses amx";
}

}  // namespace
}  // namespace fathom
