#include "evaluate/chinese_words.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

using Words = std::vector<std::string>;

// A small folder of jieba's form: 天下 is likelier than its characters, 下大 is not.
class ChineseWordsFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_.file("finalseg"));
    folder_.write("dict.txt",
                  "天 10 n\n天下 100 n\n下 10 n\n大 10 n\n大事 100 n\n事 10 n\n下大 1 n\n一二三 1000 n\n");
    folder_.write("finalseg/prob_start.py",
                  "from x import y\nP={'B': -0.26,\n 'E': -3.14e+100,\n 'M': -3.14e+100,\n 'S': -1.46}\n");
    folder_.write("finalseg/prob_trans.py",
                  "P={'B': {'E': -0.5, 'M': -0.9},\n 'E': {'B': -0.6, 'S': -0.8},\n 'M': {'E': -0.3, 'M': "
                  "-1.3},\n 'S': {'B': -0.7, "
                  "'S': -0.7}}\n");
    // 人 begins words, 民 ends them, 我 stands alone.
    folder_.write("finalseg/prob_emit.py",
                  "P={'B': {'\\u4eba': -1.0, '\\u6c11': -9.0, '\\u6211': -9.0},\n 'E': {'\\u4eba': -9.0, "
                  "'\\u6c11': -1.0, '\\u6211': -9.0},\n"
                  " 'M': {'\\u4eba': -9.0},\n 'S': {'\\u4eba': -9.0, '\\u6c11': -9.0, '\\u6211': -1.0}}\n");
  }

  Words cut(std::string_view text) {
    const auto words = ChineseWords::load(folder_.path());
    EXPECT_TRUE(words.ok()) << words.status().message();
    return words.ok() ? words->cut(text) : Words();
  }

  std::string error() { return std::string(ChineseWords::load(folder_.path()).status().message()); }

  TempDir folder_;
};

TEST(ChineseWords, WithoutADictionaryCharactersAreWords) {
  EXPECT_EQ(ChineseWords().cut("天 a1"), (Words{"天", " ", "a", "1"}));
  EXPECT_TRUE(ChineseWords().cut("").empty());
}

TEST_F(ChineseWordsFiles, LikeliestPath) {
  EXPECT_EQ(cut("天下大事"), (Words{"天下", "大事"}));
  EXPECT_EQ(cut("天下，大\n"), (Words{"天下", "，", "大", "\n"}));
  // The beginning of a word that does not go on is none.
  EXPECT_EQ(cut("一二"), (Words{"一", "二"}));
}

TEST_F(ChineseWordsFiles, UnknownRunsAreCutByTheModel) {
  EXPECT_EQ(cut("我人民天下"), (Words{"我", "人民", "天下"}));
  EXPECT_EQ(cut("天下abc3.5%我"), (Words{"天下", "abc3.5%", "我"}));
  EXPECT_EQ(cut("a+-b 7.x"), (Words{"a", "+-", "b", " ", "7", ".", "x"}));
}

TEST_F(ChineseWordsFiles, BadFiles) {
  folder_.write("finalseg/prob_start.py", "P={'Q': 1}");
  EXPECT_NE(error().find("prob_start.py: \"Q\""), std::string::npos) << error();
  folder_.write("finalseg/prob_start.py", "P={'B': x}");
  EXPECT_NE(error().find("\"B\" has no number"), std::string::npos) << error();
  folder_.write("finalseg/prob_start.py", "");
  EXPECT_NE(error().find("no entry"), std::string::npos) << error();
  folder_.write("dict.txt", "天 10 n\n天下\n");
  EXPECT_NE(error().find("dict.txt line 2"), std::string::npos) << error();
}

}  // namespace
}  // namespace fathom::testing
