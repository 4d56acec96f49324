// Rules on real-looking and on hostile answers. Expected letters and numbers of the first tests come from
// Python's re with the published patterns.
#include "evaluate/answer_extraction.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

std::string letter(std::string_view text) {
  static const auto extractor = LetterExtractor::create();
  EXPECT_TRUE(extractor.ok()) << extractor.status().message();
  return extractor->extract(text);
}

const NumberExtractor& numbers() {
  static const auto extractor = NumberExtractor::create();
  EXPECT_TRUE(extractor.ok()) << extractor.status().message();
  return *extractor;
}

TEST(LetterExtractor, Phrases) {
  EXPECT_EQ(letter("A和B都不对，所以答案是C。"), "C");
  EXPECT_EQ(letter("答案：D"), "D");
  EXPECT_EQ(letter("首先排除A，故选B"), "B");
  EXPECT_EQ(letter("因为如此，答案应该选 C 而不是 A"), "C");
  EXPECT_EQ(letter("The answer is (B)."), "B");
  EXPECT_EQ(letter("Not A. The correct answer is option D"), "D");
  EXPECT_EQ(letter("选项 C 正确"), "C");
  EXPECT_EQ(letter("B"), "B");
  EXPECT_EQ(letter("C选项"), "C");
  EXPECT_EQ(letter("答案是：光合作用 B"), "B");
}

// An earlier rule wins over an earlier place; of several letters in one match the first of the alphabet.
TEST(LetterExtractor, OrderOfRules) {
  EXPECT_EQ(letter("选A是错的，答案是B"), "B");
  EXPECT_EQ(letter("D. because of A"), "A");
  EXPECT_EQ(letter("答案是D或A。"), "D");
  EXPECT_EQ(letter("答案是(D或A)。"), "A");
}

TEST(LetterExtractor, Hostile) {
  EXPECT_EQ(letter(""), "");
  EXPECT_EQ(letter("\n\n  \u3000"), "");
  EXPECT_EQ(letter("答案是"), "");
  EXPECT_EQ(letter("答案是E"), "");
  EXPECT_EQ(letter("abcd"), "");
  EXPECT_EQ(letter("a Banana"), "B");
  EXPECT_EQ(letter("\uFFFD\uFFFD[UNK]答案是\n\nC"), "C");
  EXPECT_EQ(letter(std::string(100'000, ' ') + "C"), "C");
  EXPECT_EQ(letter(std::string(20'000, '1') + "A"), "A");
}

TEST(FirstCharacter, SkipsWhiteSpaceAlone) {
  EXPECT_EQ(first_character(" \n A. yes"), "A");
  EXPECT_EQ(first_character("**A**"), "*");
  EXPECT_EQ(first_character("答案"), "答");
  EXPECT_EQ(first_character(" \n"), "");
  EXPECT_EQ(first_character(""), "");
}

TEST(Numbers, HarnessRules) {
  EXPECT_EQ(numbers().after_mark("2+2=4\n#### 4\n#### 5"), "4");
  EXPECT_EQ(numbers().after_mark("#### -1,234.50"), "-1,234.50");
  EXPECT_EQ(numbers().after_mark("the answer is 4"), std::nullopt);
  EXPECT_EQ(numbers().after_mark("####4"), std::nullopt);
  EXPECT_EQ(numbers().last("He has $1,200 or 7 left"), "7");
  EXPECT_EQ(numbers().last("costs $18."), "$18.");
  EXPECT_EQ(numbers().last("none"), std::nullopt);
  EXPECT_EQ(numbers().last("at the end... "), "...");  // as the published pattern has it
  EXPECT_EQ(comparable_number("Janet sells 9.\n#### 1,018"), "1018");
  EXPECT_EQ(comparable_number("$18."), "18");
  EXPECT_EQ(comparable_number("[Invalid]"), "[invalid]");
}

TEST(Numbers, ModeltestRules) {
  EXPECT_EQ(numbers().last_plain("a 12 b 1,234,567"), "1234567");
  EXPECT_EQ(numbers().last_plain("+3.50"), "3.50");
  EXPECT_EQ(numbers().last_plain("-.5"), "-.5");
  EXPECT_EQ(numbers().last_plain("1234567"), "1234567");
  EXPECT_EQ(numbers().last_plain("12,34"), "34");
  EXPECT_EQ(numbers().last_plain("问7题"), "7");
  EXPECT_EQ(numbers().last_plain("no number."), std::nullopt);
  EXPECT_TRUE(numbers_close("18", "18.0"));
  EXPECT_TRUE(numbers_close("18", "18.0001"));
  EXPECT_FALSE(numbers_close("18", "18.0002"));
  EXPECT_FALSE(numbers_close("", "18"));
  EXPECT_FALSE(numbers_close("18", "nan"));
  EXPECT_FALSE(numbers_close(std::string(500, '9'), std::string(500, '9')));  // beyond a double
}

TEST(FunctionBody, IsCut) {
  EXPECT_EQ(function_body("    return 1\n\nprint(2)\n"), "    return 1\n");
  EXPECT_EQ(function_body("    return 1\ndef g():\n    pass"), "    return 1");
  EXPECT_EQ(function_body("    a = 1\n\n\n    return a"), "    a = 1");
  EXPECT_EQ(function_body("    a = 1\n\n    return a"), "    a = 1\n\n    return a");
  EXPECT_EQ(function_body("return 1"), "");
  EXPECT_EQ(function_body(""), "");
}

}  // namespace
}  // namespace fathom
