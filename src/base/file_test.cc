#include "base/file.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace fathom {
namespace {

TEST(InputFile, ReadsAtOffsets) {
  testing::TempDir dir;
  const std::string path = dir.write("file", "0123456789");
  const auto file = InputFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ((*file)->size(), 10u);
  std::byte three[3];
  ASSERT_TRUE((*file)->read_at(6, three).ok());
  EXPECT_EQ(static_cast<char>(three[0]), '6');
  EXPECT_EQ(static_cast<char>(three[2]), '8');
  EXPECT_EQ((*file)->read_at(8, three).message(), path + ": cannot read at byte 10: file ended early");
  EXPECT_EQ(InputFile::open(dir.file("none")).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(InputFile::open(dir.path()).status().message(), dir.path() + ": not a regular file");
}

}  // namespace
}  // namespace fathom
