#include "base/memory_info.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

// A system of its own in a temporary folder.
class MemoryInfoTest : public ::testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    const std::string full = dir_.path() + path;
    ASSERT_TRUE(make_directories(full.substr(0, full.rfind('/'))).ok());
    ASSERT_TRUE(write_file(full, text).ok());
  }
  MemoryInfo read() { return read_memory_info(dir_.path()); }
  testing::TempDir dir_;
};

TEST_F(MemoryInfoTest, NothingKnown) {
  EXPECT_FALSE(read().system_available);
  EXPECT_FALSE(read().cgroup_available);
}

TEST_F(MemoryInfoTest, SystemMemory) {
  put("/proc/meminfo", "MemTotal:       100 kB\nMemFree: 1 kB\nMemAvailable:   64 kB\n");
  EXPECT_EQ(read().system_available, 64u * 1024);
  EXPECT_EQ(read().available(), 64u * 1024);
}

TEST_F(MemoryInfoTest, Version2TakesTheTightestOfAllParents) {
  put("/proc/self/cgroup", "0::/a/b\n");
  put("/sys/fs/cgroup/a/memory.max", "1000\n");
  put("/sys/fs/cgroup/a/memory.current", "700\n");
  put("/sys/fs/cgroup/a/memory.stat", "anon 200\ninactive_file 300\nactive_file 200\n");
  put("/sys/fs/cgroup/a/b/memory.max", "max\n");
  put("/sys/fs/cgroup/a/b/memory.current", "600\n");
  EXPECT_EQ(read().cgroup_available, 800u);  // cached files do not count as used
}

TEST_F(MemoryInfoTest, ContainerWithoutItsOwnPath) {
  put("/proc/self/cgroup", "0::/docker/0123\n");
  put("/sys/fs/cgroup/memory.max", "4096\n");
  put("/sys/fs/cgroup/memory.current", "5000\n");
  EXPECT_EQ(read().cgroup_available, 0u);
}

TEST_F(MemoryInfoTest, Version1) {
  put("/proc/self/cgroup", "12:cpuset:/x\n5:memory:/job\n0::/job\n");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2000\n");
  put("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "500\n");
  put("/sys/fs/cgroup/memory/job/memory.stat",
      "inactive_file 1\ntotal_inactive_file 100\ntotal_active_file 50\n");
  EXPECT_EQ(read().cgroup_available, 1650u);
}

TEST_F(MemoryInfoTest, SmallestWins) {
  const MemoryInfo info{.system_available = 5, .cgroup_available = 3, .address_space_available = 4};
  EXPECT_EQ(info.available(), 3u);
  EXPECT_FALSE(MemoryInfo{}.available());
}

TEST(MemoryInfo, RealSystemSaysSomething) { EXPECT_GT(read_memory_info().available().value_or(0), 0u); }

TEST(TransparentHugePages, ReadsTheSettingInForce) {
  const testing::TempDir root;
  EXPECT_EQ(transparent_huge_pages(root.path()), "unknown");
  ASSERT_TRUE(make_directories(root.file("sys/kernel/mm/transparent_hugepage")).ok());
  const std::pair<const char*, const char*> cases[] = {{"always [madvise] never\n", "madvise"},
                                                       {"[always] madvise never\n", "always"},
                                                       {"]always[", "unknown"}};
  for (const auto& [text, want] : cases) {
    root.write("sys/kernel/mm/transparent_hugepage/enabled", text);
    EXPECT_EQ(transparent_huge_pages(root.path()), want) << text;
  }
}

}  // namespace
}  // namespace fathom
