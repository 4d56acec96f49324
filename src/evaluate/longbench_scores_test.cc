// Expected values by hand from the definitions of LongBench's metrics.py.
#include "evaluate/longbench_scores.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

constexpr auto kEnglish = Script::kEnglish;
constexpr auto kChinese = Script::kChinese;

TEST(LongbenchScores, AnswerF1) {
  EXPECT_EQ(answer_f1("The Cat, sat!", "a cat sat", kEnglish), 1);
  // cat of {cat, ran, far} and {cat, sat}: 2 * 1 / (3 + 2).
  EXPECT_DOUBLE_EQ(answer_f1("cat ran far", "the cat sat", kEnglish), 0.4);
  // A word counts as often as both have it: 2 * 1 / (3 + 1).
  EXPECT_DOUBLE_EQ(answer_f1("yes yes yes", "Yes.", kEnglish), 0.5);
  EXPECT_EQ(answer_f1("", "cat", kEnglish), 0);
  EXPECT_EQ(answer_f1("the", "a", kEnglish), 0);
  EXPECT_EQ(answer_f1("theory", "the", kEnglish), 0);
  EXPECT_EQ(answer_f1("红楼梦》。", "红楼梦", kChinese), 1);
  EXPECT_DOUBLE_EQ(answer_f1("《红楼梦》。", "红楼梦", kChinese), 2 * 3 / 7.0);
  EXPECT_DOUBLE_EQ(answer_f1("红楼", "红 楼梦，", kChinese), 0.8);
}

TEST(LongbenchScores, RougeL) {
  EXPECT_EQ(rouge_l("a b c", "a b c", kEnglish), 1);
  // a c e in order: 2 * 3 / (5 + 4).
  EXPECT_DOUBLE_EQ(rouge_l("a b c d e", "a c x e", kEnglish), 2 * 3 / 9.0);
  EXPECT_EQ(rouge_l("c b a", "x", kEnglish), 0);
  EXPECT_EQ(rouge_l(" \n", "x", kEnglish), 0);
  EXPECT_DOUBLE_EQ(rouge_l("天 地玄黄", "天玄", kChinese), 2 * 2 / 6.0);
}

TEST(LongbenchScores, Classes) {
  const std::vector<std::string> classes = {"Food", "Other food", "Date"};
  EXPECT_EQ(class_score("Type: Date", "Date", classes), 1);
  EXPECT_EQ(class_score("Date or Food", "Date", classes), 0.5);
  EXPECT_EQ(class_score("Food", "Date", classes), 0);
  EXPECT_EQ(class_score("none", "Date", classes), 0);
  const std::vector<std::string> nested = {"sport", "sport event"};
  EXPECT_EQ(class_score("sport event", "sport event", nested), 1);
}

TEST(LongbenchScores, Numbers) {
  EXPECT_EQ(number_share("7", "7"), 1);
  EXPECT_EQ(number_share("7, not 17 or 7a", "7"), 2 / 3.0);
  EXPECT_EQ(number_share("none", "7"), 0);
  EXPECT_EQ(number_after("x Paragraph y Paragraph 12.", "Paragraph "), "12");
  EXPECT_EQ(number_after("段落3", "段落"), "3");
  EXPECT_EQ(number_after("Paragraph", "Paragraph "), "");
}

TEST(LongbenchScores, Code) {
  EXPECT_EQ(code_likeness("\n\n# comment\n```\nreturn x\nmore", "return x"), 1);
  // "return" and " " of 8 and 8 characters: 7 in common order, round(100 * 14 / 16).
  EXPECT_EQ(code_likeness("return x", "return y"), 0.88);
  EXPECT_EQ(code_likeness("// only", "abc"), 0);
  EXPECT_EQ(code_likeness("", ""), 1);
}

}  // namespace
}  // namespace fathom
