// Expected values by hand from the definitions of LongBench's metrics.py.
#include "evaluate/longbench_scores.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(LongbenchScores, AnswerF1) {
  EXPECT_EQ(answer_f1("The Cat, sat!", "a cat sat"), 1);
  // cat of {cat, ran, far} and {cat, sat}: 2 * 1 / (3 + 2).
  EXPECT_DOUBLE_EQ(answer_f1("cat ran far", "the cat sat"), 0.4);
  // A word counts as often as both have it: 2 * 1 / (3 + 1).
  EXPECT_DOUBLE_EQ(answer_f1("yes yes yes", "Yes."), 0.5);
  EXPECT_EQ(answer_f1("", "cat"), 0);
  EXPECT_EQ(answer_f1("the", "a"), 0);
  EXPECT_EQ(answer_f1("theory", "the"), 0);
  EXPECT_EQ(answer_f1("“The café”", "“ CAFÉ”"), 1);
  EXPECT_EQ(chinese_answer_f1("红楼梦》。", "红楼梦", ChineseWords()), 1);
  EXPECT_DOUBLE_EQ(chinese_answer_f1("《红楼梦》。", "红楼梦", ChineseWords()), 2 * 3 / 7.0);
  EXPECT_DOUBLE_EQ(chinese_answer_f1("红楼", "红 楼梦，", ChineseWords()), 0.8);
}

// The original's F1 of common, answer's and truth's distinct words.
double rouge_f1(double common, double answer, double truth) {
  const double precision = common / answer, recall = common / truth;
  return 2 * (precision * recall / (precision + recall + 1e-8));
}

TEST(LongbenchScores, RougeL) {
  EXPECT_DOUBLE_EQ(rouge_l("a b c", "a b c"), rouge_f1(3, 3, 3));
  EXPECT_DOUBLE_EQ(rouge_l("a b c d e", "a c x e"), rouge_f1(3, 5, 4));
  EXPECT_EQ(rouge_l("c b a", "x"), 0);
  EXPECT_EQ(rouge_l(" \n", "x"), 0);
  EXPECT_EQ(rouge_l("", "x"), 0);
  EXPECT_EQ(rouge_l("...", "x"), 0);
  // A word counts once.
  EXPECT_DOUBLE_EQ(rouge_l("a a b", "a b"), rouge_f1(2, 2, 2));
  // Each sentence with each other one: a b from the first, c d from the second.
  EXPECT_DOUBLE_EQ(rouge_l("c d. a b", "a b. c d."), rouge_f1(4, 4, 4));
  EXPECT_DOUBLE_EQ(rouge_l("c d a b", "a b c d"), rouge_f1(2, 4, 4));
  EXPECT_DOUBLE_EQ(chinese_rouge_l("天 地玄黄", "天玄", ChineseWords()), rouge_f1(2, 4, 2));
}

TEST(LongbenchScores, Classes) {
  const std::vector<std::string> classes = {"Food", "Other food", "Date"};
  EXPECT_EQ(class_score("Type: Date", "Date", classes), 1);
  EXPECT_EQ(class_score("Date or Food", "Date", classes), 0.5);
  EXPECT_EQ(class_score("Food", "Date", classes), 0);
  EXPECT_EQ(class_score("none", "Date", classes), 0);
  const std::vector<std::string> nested = {"sport", "sport event"};
  EXPECT_EQ(class_score("sport event", "sport event", nested), 1);
  // The original walks along the list it takes from: of two neighbours that are parts of the right one, one
  // stays.
  EXPECT_EQ(class_score("sport event", "sport event", {"sport", "event", "sport event"}), 0.5);
}

TEST(LongbenchScores, Numbers) {
  EXPECT_EQ(number_share("7", "7"), 1);
  EXPECT_EQ(number_share("7, not 17 or 7a", "7"), 2 / 3.0);
  EXPECT_EQ(number_share("none", "7"), 0);
  EXPECT_EQ(number_after("x Paragraph y Paragraph 12.", "Paragraph "), "12");
  EXPECT_EQ(number_after("段落3", "段落"), "3");
  EXPECT_EQ(number_after("Paragraph", "Paragraph "), "");
  EXPECT_EQ(number_share("7 ７", "7"), 0.5);  // a number too, and not the same text
}

TEST(LongbenchScores, Code) {
  EXPECT_EQ(code_likeness("\n\n# comment\n```\nreturn x\nmore", "return x"), 1);
  // "return " of 8 and 8 characters: round(100 * 14 / 16), halves to even.
  EXPECT_EQ(code_likeness("return x", "return y"), 0.88);
  EXPECT_EQ(code_likeness("// only", "abc"), 0);
  EXPECT_EQ(code_likeness("", ""), 1);
  // Blocks, not characters in common order: of "ab" and "ba" one letter, then nothing on either side.
  EXPECT_EQ(code_likeness("ab", "ba"), 0.5);
  EXPECT_EQ(code_likeness("aXbYc", "bac"), 0.5);
}

}  // namespace
}  // namespace fathom
