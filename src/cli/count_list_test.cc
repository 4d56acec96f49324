#include "cli/count_list.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

using Pairs = std::vector<std::pair<int64_t, int64_t>>;

TEST(CountList, Counts) {
  EXPECT_EQ(*parse_count_list("1,4,2k", "--batch"), (std::vector<int64_t>{1, 4, 2048}));
  EXPECT_TRUE(parse_count_list("", "--batch")->empty());
  for (const char* text : {"0", "1,", ",1", "1,,2", "x", "1 2", "-1", "1G"}) {
    const auto list = parse_count_list(text, "--batch");
    ASSERT_FALSE(list.ok()) << text;
    EXPECT_NE(list.status().message().find("--batch"), std::string::npos) << text;
  }
}

TEST(CountList, Pairs) {
  EXPECT_EQ(*parse_pair_list("2048x2048,4kx32", "--pairs"), (Pairs{{2048, 2048}, {4096, 32}}));
  for (const char* text : {"12", "x", "1x", "x1", "1x0", "1x2x3", "1x2,"})
    EXPECT_FALSE(parse_pair_list(text, "--pairs").ok()) << text;
}

TEST(CountList, IsBounded) {
  std::string text = "1";
  for (int i = 1; i < 256; ++i) text += ",1";
  EXPECT_TRUE(parse_count_list(text, "--batch").ok());
  EXPECT_FALSE(parse_count_list(text + ",1", "--batch").ok());
}

}  // namespace
}  // namespace fathom
