#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "text/tiny_tokenizer.h"

namespace fathom {
namespace {

using Pieces = std::vector<std::string>;

Result<Pieces> split(const TokenizerJson& description, std::string_view text) {
  FATHOM_ASSIGN_OR_RETURN(const PreTokenizer pre_tokenizer, PreTokenizer::from_json(description));
  RegexScratch scratch;
  Pieces pieces;
  FATHOM_RETURN_IF_ERROR(
      pre_tokenizer.split(text, scratch, [&](std::string_view piece) { pieces.emplace_back(piece); }));
  return pieces;
}

Pieces split_v2(std::string_view text) { return *split(tiny::tokenizer_json()["pre_tokenizer"], text); }

TokenizerJson sequence(TokenizerJson steps) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

Pieces split_by(const std::string& regex, std::string_view text) {
  return *split(sequence({tiny::split_step(regex), tiny::byte_level(false, false)}), text);
}

TEST(PreTokenizer, DeepSeekV2List) {
  EXPECT_EQ(split_v2(""), Pieces());
  EXPECT_EQ(split_v2("Hello world"), (Pieces{"Hello", " world"}));
  EXPECT_EQ(split_v2("a  b"), (Pieces{"a", " ", " b"}));
  EXPECT_EQ(split_v2("a\r\n b"), (Pieces{"a", "\r", "\n", " b"}));
  EXPECT_EQ(split_v2("x1234"), (Pieces{"x", "1", "2", "3", "4"}));
  EXPECT_EQ(split_v2("你好，世界"), (Pieces{"你好", "，", "世界"}));
  EXPECT_EQ(split_v2("don't (now)!"), (Pieces{"don", "'", "t", " (", "now", ")!"}));
  EXPECT_EQ(split_v2("end   "), (Pieces{"end", "   "}));
  EXPECT_EQ(split_v2("א ב"), (Pieces{"א ב"}));  // no step touches Hebrew
  EXPECT_EQ(split_v2(std::string_view("a\0b", 3)), (Pieces{"a", std::string(1, '\0'), "b"}));
}

TEST(PreTokenizer, EmptyMatchesCutAndGoOn) {
  EXPECT_EQ(split_by("x*", "abxxcxd"), (Pieces{"a", "b", "xx", "c", "x", "d"}));
  EXPECT_EQ(split_by("(?=x)", "axxb"), (Pieces{"a", "x", "xb"}));
  EXPECT_EQ(split_by("$", "ab\ncd"), (Pieces{"ab", "\ncd"}));
  EXPECT_EQ(split_by("x*", "你"), (Pieces{"你"}));
}

TEST(PreTokenizer, ByteLevelPrefixSpaceAndRegex) {
  EXPECT_EQ(*split(tiny::byte_level(true, true), "I'm here"), (Pieces{" I", "'m", " here"}));
  EXPECT_EQ(*split(tiny::byte_level(true, false), " a"), (Pieces{" a"}));
  EXPECT_EQ(*split(tiny::byte_level(true, false), "\ta"), (Pieces{" \ta"}));
  EXPECT_EQ(*split(tiny::byte_level(false, true), "a   b"), (Pieces{"a", "  ", " b"}));
}

TEST(PreTokenizer, DigitsAndLiterals) {
  const TokenizerJson digits = {{"type", "Digits"}, {"individual_digits", false}};
  EXPECT_EQ(*split(sequence({digits, tiny::byte_level(false, false)}), "a12½b3"),
            (Pieces{"a", "12½", "b", "3"}));
  TokenizerJson literal = tiny::split_step("");
  literal["pattern"] = {{"String", "a.b"}};
  EXPECT_EQ(*split(sequence({literal, tiny::byte_level(false, false)}), "xa.bxaab"),
            (Pieces{"x", "a.b", "xaab"}));
}

// Spaces before something that no earlier step takes: \s+$ would be tried at every one of them.
TEST(PreTokenizer, RunsOfSpacesTakeLinearTime) {
  const std::string spaces(300'000, ' ');
  EXPECT_EQ(split_v2(spaces + "一"), (Pieces{spaces, "一"}));
  EXPECT_EQ(split_v2(spaces + "1"), (Pieces{spaces, "1"}));
  EXPECT_EQ(split_v2(spaces), (Pieces{spaces}));
}

TEST(PreTokenizer, UnsupportedDescriptionsNameTheField) {
  const auto error_of = [](const TokenizerJson& description) {
    const auto result = PreTokenizer::from_json(description);
    return result.ok() ? std::string("ok") : result.status().message();
  };
  TokenizerJson removed = tiny::split_step("a");
  removed["behavior"] = "Removed";
  EXPECT_EQ(error_of(sequence({removed})),
            "pre_tokenizer.pretokenizers[0].behavior: \"Removed\" is not supported (\"Isolated\" is)");
  TokenizerJson inverted = tiny::split_step("a");
  inverted["invert"] = true;
  EXPECT_EQ(error_of(inverted), "pre_tokenizer.invert: true is not supported");
  EXPECT_EQ(error_of({{"type", "Metaspace"}}),
            "pre_tokenizer.type: \"Metaspace\" is not supported (Sequence, Split, Digits and ByteLevel are)");
  EXPECT_EQ(error_of(tiny::split_step("a")),
            "pre_tokenizer: only lists that end with ByteLevel are supported");
  EXPECT_EQ(error_of(sequence({tiny::byte_level(false, false), tiny::split_step("a")})),
            "pre_tokenizer.pretokenizers[1]: a step after ByteLevel is not supported");
  EXPECT_NE(error_of(tiny::split_step("(")).find("pre_tokenizer.pattern: pattern \"(\" is not valid"),
            std::string::npos);
  EXPECT_EQ(error_of({{"type", 1}}), "pre_tokenizer.type: not a string");
  EXPECT_EQ(error_of({{"kind", "x"}}), "pre_tokenizer.type: missing");
  EXPECT_EQ(error_of(TokenizerJson::array()), "pre_tokenizer: not an object");
  TokenizerJson many = TokenizerJson::array();
  for (int i = 0; i < 40; ++i) many.push_back(tiny::split_step("a"));
  EXPECT_NE(error_of(sequence(many)).find("more than 32 steps"), std::string::npos);
}

}  // namespace
}  // namespace fathom
