#include "evaluate/plain_text.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

// Expected values: Python 3.11's str methods.
TEST(PlainText, StripsWhatPythonStrips) {
  EXPECT_EQ(strip(" \t\r\n\x0b\x0c\x1c\x1f a b \xC2\x85\xC2\xA0"), "a b");
  EXPECT_EQ(strip("\u3000问 题\u2003"), "问 题");
  EXPECT_EQ(strip("\u200b"), "\u200b");  // a zero width space is none
  EXPECT_EQ(strip_end(" a \n"), " a");
  EXPECT_EQ(strip(""), "");
  EXPECT_EQ(strip("\u3000\n"), "");
}

TEST(PlainText, CountsCharacters) {
  EXPECT_EQ(count_characters("a问é😀"), 4u);
  EXPECT_EQ(count_characters("\xE9\x97"), 2u);      // cut short
  EXPECT_EQ(count_characters("\xFF\x80\xC0"), 3u);  // ill-formed
  EXPECT_EQ(without_white_space(" a\u3000问 \n b"), "a问b");
}

TEST(PlainText, SplitsAndReplaces) {
  EXPECT_EQ(split("a,b,,c,", ","), (std::vector<std::string_view>{"a", "b", "", "c", ""}));
  EXPECT_EQ(split("", "\n"), (std::vector<std::string_view>{""}));
  EXPECT_EQ(replace_all("aaa", "aa", "b"), "ba");
  EXPECT_EQ(replace_all("x&y", "&", "&amp;"), "x&amp;y");
}

TEST(PlainText, SmallLetters) {
  EXPECT_EQ(to_lower("aZ[@ÀÖ×ÞßĀĮŁŽ"), "az[@àö×þßāįłž");
  EXPECT_EQ(to_lower("ΆΏΑΩЀЯѠ問ＡＺ"), "άώαωѐяѡ問ａｚ");
  EXPECT_EQ(to_lower("\xC3X\xFF"), "\xC3x\xFF");
}

}  // namespace
}  // namespace fathom
