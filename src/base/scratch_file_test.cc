#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "base/file.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(ScratchFile, KeepsBytesAndHasNoName) {
  const testing::TempDir folder;
  const auto file = ScratchFile::create(folder.path(), 16);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  ASSERT_TRUE((*file)->write_at(4, bytes_of("efgh")).ok());
  ASSERT_TRUE((*file)->write_at(0, bytes_of("abcd")).ok());
  std::string got(5, ' ');
  ASSERT_TRUE((*file)->read_at(2, std::as_writable_bytes(std::span(got))).ok());
  EXPECT_EQ(got, "cdefg");
  const Status beyond = (*file)->read_at(4, std::as_writable_bytes(std::span(got)));
  EXPECT_NE(beyond.message().find(folder.path()), std::string::npos) << beyond.message();
}

TEST(ScratchFile, RefusesWhatDoesNotFit) {
  const testing::TempDir folder;
  const auto file = ScratchFile::create(folder.path(), std::numeric_limits<uint64_t>::max());
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(file.status().message().find("18446744073709551615"), std::string::npos)
      << file.status().message();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ScratchFile, RefusesAFolderThatIsNone) {
  const testing::TempDir folder;
  EXPECT_NE(ScratchFile::create(folder.file("none"), 1).status().message().find(folder.file("none")),
            std::string::npos);
}

}  // namespace
}  // namespace fathom
