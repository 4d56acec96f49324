#include "text/regex.h"

#include <gtest/gtest.h>

#include <string>

#include "text/unicode.h"
#include "text/utf8.h"

namespace fathom {
namespace {

// "[begin,end)" of the first match, or "none", or the error.
std::string first_match(const std::string& pattern, std::string_view text, size_t from = 0) {
  const auto regex = Regex::compile(pattern);
  if (!regex.ok()) return regex.status().message();
  RegexScratch scratch;
  const auto match = regex->find(text, from, scratch);
  if (!match.ok()) return match.status().message();
  return match->found ? fmt::format("[{},{})", match->begin, match->end) : "none";
}

TEST(Regex, FindsTheLeftmostMatch) {
  EXPECT_EQ(first_match("b+", "abbbc"), "[1,4)");
  EXPECT_EQ(first_match("b+", "abbbc", 2), "[2,4)");
  EXPECT_EQ(first_match("b+", "ac"), "none");
  EXPECT_EQ(first_match("(?<=a)b", "ab", 1), "[1,2)");  // sees what lies before
  EXPECT_EQ(first_match("\\p{N}{1,3}", "a12345"), "[1,4)");
  EXPECT_EQ(first_match("[^\\s\\p{L}]+", "ab?!c"), "[2,4)");
}

TEST(Regex, DollarIsTheEndOfALine) {
  EXPECT_EQ(first_match("a$", "a\nb"), "[0,1)");
  EXPECT_EQ(first_match("\\s+$", "x  "), "[1,3)");
  EXPECT_EQ(first_match("\\s+$", "  \n  x"), "[0,2)");
  EXPECT_EQ(first_match("\\s+$", "   x"), "none");
}

// Oniguruma's \s is White_Space; PCRE2's own would also take U+180E.
TEST(Regex, SpaceIsWhiteSpace) {
  const auto regex = Regex::compile("\\s");
  ASSERT_TRUE(regex.ok());
  RegexScratch scratch;
  for (char32_t c = 0; c <= 0x10FFFF; c += c < 0x4000 ? 1 : 101) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(c, text);
    ASSERT_EQ(regex->find(text, 0, scratch)->found, is_white_space(c))
        << std::hex << static_cast<uint32_t>(c);
  }
  EXPECT_EQ(first_match("[\\s]", "\u180e"), "none");
  EXPECT_EQ(first_match("\\S", "\u180e"), "[0,3)");
}

TEST(Regex, RefusesWhatTheEnginesReadDifferently) {
  for (const std::string pattern : {"\\w", "\\b", "\\h", "[a[b]]", "[a&&b]", "a{,3}", "a{1,2}+", "(?m:a)",
                                    "\\p{Han}", "\\1", "(?<name>a)", "[]a]", "[a", "\\p{L", "a{x}"}) {
    const auto regex = Regex::compile(pattern);
    ASSERT_FALSE(regex.ok()) << pattern;
    EXPECT_NE(regex.status().message().find(pattern), std::string::npos) << regex.status().message();
  }
}

TEST(Regex, InvalidPatternsAreErrors) {
  EXPECT_FALSE(Regex::compile("(a").ok());
  EXPECT_FALSE(Regex::compile("a)").ok());
  EXPECT_FALSE(Regex::compile("*").ok());
  EXPECT_FALSE(Regex::compile("\xff").ok());
  EXPECT_FALSE(Regex::compile(std::string(1000, '(') + std::string(1000, ')')).ok());
  EXPECT_FALSE(Regex::compile(std::string(1 << 17, 'a')).ok());
}

TEST(Regex, ExponentialPatternsEndWithAnError) {
  const std::string result = first_match("(a+)+(?:b|c)", std::string(40, 'a'));
  EXPECT_NE(result.find("match limit exceeded"), std::string::npos) << result;
}

TEST(Regex, LongRunsNeedNoStack) {
  const std::string run(1 << 20, 'Z');
  EXPECT_EQ(first_match("\\s?[A-Za-z]+", run), fmt::format("[0,{})", run.size()));
  // A repeated group keeps a way back for each round: it ends at the limit on memory, not in a crash.
  EXPECT_EQ(first_match("(?:Z|y)+", run.substr(0, 1 << 14)), "[0,16384)");
  EXPECT_NE(first_match("(?:Z|y)+", run).find("limit exceeded"), std::string::npos);
}

}  // namespace
}  // namespace fathom
