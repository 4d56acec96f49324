#include "base/direct_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/file.h"

namespace fathom {
namespace {

struct AlignedDeleter {
  void operator()(std::byte* p) const { std::free(p); }
};

std::unique_ptr<std::byte, AlignedDeleter> make_buffer(size_t size) {
  return std::unique_ptr<std::byte, AlignedDeleter>(
      static_cast<std::byte*>(std::aligned_alloc(DirectFile::kAlignment, DirectFile::buffer_bytes(size))));
}

class DirectFileTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    // A disk's file system and one in memory, which may not know direct reads.
    directory_ = join_path(GetParam(), "fathom_direct_file_test." + std::to_string(::getpid()));
    if (!make_directories(directory_).ok()) GTEST_SKIP() << GetParam() << " is not there";
    for (size_t i = 0; i < 100'001; ++i) text_.push_back(static_cast<char>(i * 31 + i / 251));
    ASSERT_TRUE(write_file(path(), text_).ok());
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string path() const { return join_path(directory_, "data"); }

  std::string directory_;
  std::string text_;
};

TEST_P(DirectFileTest, ReadsAnyRange) {
  const auto file = DirectFile::open(path());
  ASSERT_TRUE(file.ok()) << file.status().message();
  for (size_t offset : {size_t{0}, size_t{1}, size_t{511}, size_t{4095}, size_t{4096}, size_t{70'001}}) {
    for (size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{8193}, text_.size() - offset}) {
      if (offset + size > text_.size()) continue;
      const auto buffer = make_buffer(size);
      const auto read = (*file)->read(offset, size, buffer.get());
      ASSERT_TRUE(read.ok()) << read.status().message();
      EXPECT_EQ(reinterpret_cast<uintptr_t>(*read) % DirectFile::kAlignment, offset % DirectFile::kAlignment);
      EXPECT_EQ(std::memcmp(*read, text_.data() + offset, size), 0) << offset << " " << size;
    }
  }
}

TEST_P(DirectFileTest, NamesTheFileThatEndsEarly) {
  const auto file = DirectFile::open(path());
  ASSERT_TRUE(file.ok());
  const auto buffer = make_buffer(text_.size());
  const auto read = (*file)->read(50'000, text_.size(), buffer.get());
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.status().message().find(path() + ": ended at byte 100001"), std::string::npos)
      << read.status().message();
}

TEST_P(DirectFileTest, RefusesWhatIsNoFile) {
  EXPECT_FALSE(DirectFile::open(directory_).ok());
  EXPECT_FALSE(DirectFile::open(path() + ".absent").ok());
}

INSTANTIATE_TEST_SUITE_P(FileSystems, DirectFileTest, ::testing::Values("/var/tmp", "/dev/shm", "."));

}  // namespace
}  // namespace fathom
