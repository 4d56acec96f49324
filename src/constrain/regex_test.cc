#include <array>

#include "base/random.h"

#include "constrain/limits.h"
#include "constrain/test_support.h"

namespace fathom::constrain_test {
namespace {

struct RegexCase {
  const char* pattern;
  std::vector<std::string> accepted;
  std::vector<std::string> rejected;
};

TEST(Regex, Syntax) {
  const std::vector<RegexCase> cases = {
      {"", {""}, {"a"}},
      {"abc", {"abc"}, {"ab", "abcd", "xabc"}},
      {"^abc$", {"abc"}, {"^abc$", "ab"}},
      {"^a|b$|^c$", {"a", "b", "c"}, {"ab", ""}},
      {"a||b", {"a", "", "b"}, {"|"}},
      {"(a|b)*c", {"c", "abac"}, {"ab", "d"}},
      {"(?:ab)+?", {"ab", "abab"}, {"", "a"}},
      {"(?P<x>a)(?<y>b)", {"ab"}, {"a"}},
      {"a{2}", {"aa"}, {"a", "aaa"}},
      {"a{2,}", {"aa", "aaaaa"}, {"a"}},
      {"a{,2}b", {"b", "ab", "aab"}, {"aaab"}},
      {"a{0}b", {"b"}, {"ab"}},
      {"[a-c]+", {"abc"}, {"d", "-"}},
      {"[a-]+", {"a-"}, {"b"}},
      {"[-a]+", {"a-"}, {"b"}},
      {"[\\w-]+", {"a-_9Z"}, {"\u00e9", " "}},
      {"[^a-c]", {"d", "\u00e9", "\n", "\U0001f600"}, {"a", ""}},
      {"[]a]", {}, {}},
      {"[\\]\\^\\\\]+", {"]^\\"}, {"a"}},
      {"[.*+?(){}$|/]+", {".*+?(){}$|/"}, {"a"}},
      {"\\d\\D\\w\\W\\s\\S", {"1aa. x"}, {"a1"}},
      {"[\\d\\s]+", {"1 2\t"}, {"a"}},
      {"[^\\d]", {"a"}, {"1"}},
      {".", {"a", "\u4f60", "\r", "\U0010ffff"}, {"\n", "ab", ""}},
      {"\\n\\r\\t\\f\\v\\0", {std::string("\n\r\t\f\v\0", 6)}, {"n"}},
      {"\\x41\\u4f60\\u{1F600}", {"A\u4f60\U0001f600"}, {"A"}},
      {"[\\u4e00-\\u9fff]{2}", {"\u4f60\u597d"}, {"\u4f60", "ab"}},
      {"[\u4e00-\u9fff]{2}", {"\u4f60\u597d"}, {"\u4f60a"}},
      {"\\.\\*\\-\\/\\{", {".*-/{"}, {"a"}},
      {"a}", {"a}"}, {"a"}},
      {"x*", {"", "xxx"}, {"y"}},
      {"(x*)*", {"", "xxx"}, {"y"}},
  };
  for (const RegexCase& c : cases) {
    if (c.accepted.empty()) continue;
    const Compiled compiled = compile(Kind::kRegex, c.pattern);
    ASSERT_NE(compiled, nullptr);
    for (const auto& text : c.accepted) EXPECT_TRUE(accepts(compiled, text)) << c.pattern << ": " << text;
    for (const auto& text : c.rejected) EXPECT_FALSE(accepts(compiled, text)) << c.pattern << ": " << text;
  }
}

TEST(Regex, Refusals) {
  const std::vector<std::array<const char*, 2>> cases = {
      {"a(?=b)", "offset 1: lookahead and lookbehind are not supported"},
      {"(?!b)", "offset 0: lookahead and lookbehind are not supported"},
      {"ab(?<=b)", "offset 2: lookahead and lookbehind are not supported"},
      {"(?<!b)", "offset 0: lookahead and lookbehind are not supported"},
      {"(a)\\1", "offset 3: a backreference is not supported"},
      {"(?P<x>a)(?P=x)", "offset 8: a backreference is not supported"},
      {"(?i)a", "offset 0: this kind of group is not supported"},
      {"(?>a)", "offset 0: this kind of group is not supported"},
      {"(?", "offset 0: a group without ')'"},
      {"(?<x", "offset 0: a group's name without '>'"},
      {"(a", "offset 0: a group without ')'"},
      {"a)", "offset 1: ')' without a '('"},
      {"[a", "offset 0: a class without ']'"},
      {"[]", "offset 0: an empty class (a literal ']' needs a backslash)"},
      {"[b-a]", "offset 2: a range that does not go from one character up to another"},
      {"[a-\\d]", "offset 2: a range that does not go from one character up to another"},
      {"*a", "offset 0: a repetition of nothing (a literal one needs a backslash)"},
      {"a|{", "offset 2: a repetition of nothing (a literal one needs a backslash)"},
      {"a**", "offset 2: a repetition of a repetition, or a possessive one, is not supported"},
      {"a++", "offset 2: a repetition of a repetition, or a possessive one, is not supported"},
      {"a{2}{3}", "offset 4: a repetition of a repetition, or a possessive one, is not supported"},
      {"a{x}", "offset 1: a repetition in braces needs a count"},
      {"a{,}", "offset 1: a repetition in braces needs a count"},
      {"a{2", "offset 1: a repetition without '}'"},
      {"a{3,2}", "offset 1: a repetition whose least count is above its greatest"},
      {"a{1000000}", "offset 1: a repetition of 1000000 is over the limit of 10000"},
      {"a{99999999999999999999}", "offset 1: a repetition of 4294967295 is over the limit of 10000"},
      {"a$b", "offset 1: an anchor is supported at the ends of the outermost alternatives only"},
      {"a^", "offset 1: an anchor is supported at the ends of the outermost alternatives only"},
      {"(^a)", "offset 1: an anchor is supported at the ends of the outermost alternatives only"},
      {"\\bword", "offset 0: this escape is not supported"},
      {"\\p{L}", "offset 0: this escape is not supported"},
      {"a\\", "offset 1: a backslash at the end"},
      {"\\x4", "offset 0: this escape needs 2 hex digits"},
      {"\\ud800", "offset 0: U+D800 is not a character"},
      {"\\u{110000}", "offset 0: U+110000 is not a character"},
      {"\\u{}", "offset 0: \\u{ needs 1 to 6 hex digits and a '}'"},
      {"a\xff", "offset 1: not UTF-8"},
  };
  for (const auto& [pattern, message] : cases) {
    EXPECT_EQ(error_of(Kind::kRegex, pattern), std::string("regular expression: ") + message) << pattern;
  }
  EXPECT_EQ(error_of(Kind::kRegex, "[^\\d\\D]"), "regular expression: no text can match");
}

TEST(Regex, Bombs) {
  const auto repeated = [](const std::string& text, size_t count) {
    std::string all;
    for (size_t i = 0; i < count; ++i) all += text;
    return all;
  };
  EXPECT_EQ(error_of(Kind::kRegex, std::string(kMaxConstraintBytes + 1, 'a')),
            "regular expression: 262145 bytes are over the limit of 262144");
  EXPECT_EQ(error_of(Kind::kRegex, repeated("(", 60000)),
            "regular expression: offset 64: groups nested deeper than the limit of 64");
  const std::string too_many_states =
      "regular expression: the automaton is over the limit of 262144 states, 1048576 edges or 1048576 steps";
  EXPECT_EQ(error_of(Kind::kRegex, "((a{1000}){1000}){1000}"), too_many_states);
  EXPECT_EQ(error_of(Kind::kRegex, "(((((a?){99}){99}){99}){99}){99}"), too_many_states);
  EXPECT_EQ(error_of(Kind::kRegex, "(((((|){99}){99}){99}){99}){99}"), too_many_states);
  EXPECT_EQ(error_of(Kind::kRegex, repeated("[^a]", 65000)), too_many_states);
  // Empty repetitions cost nothing.
  EXPECT_EQ(error_of(Kind::kRegex, "((((){999}){999}){999}){999}"), "no error");
  EXPECT_EQ(error_of(Kind::kRegex, repeated("a", 140000)),
            "regular expression: 140001 parts are over the limit of 131072");
}

// Its deterministic automaton has 2^21 states: the walk for a mask stops.
TEST(Regex, StatesMadeWhileRunningAreBounded) {
  std::vector<std::string> tokens;
  for (uint64_t i = 0; i < 20000; ++i) {
    std::string token;
    for (int bit = 0; bit < 40; ++bit) token += (random_bits(i, 0) >> bit & 1) != 0 ? 'a' : 'b';
    tokens.push_back(token);
  }
  const Vocabulary vocabulary(tokens);
  ConstraintMatcher matcher(compile(Kind::kRegex, "(a|b)*a(a|b){2000}", vocabulary));
  std::vector<uint32_t> bits(vocabulary.trie->num_words());
  const Status status = matcher.fill_mask(bits);
  EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(status.message().find("limit of"), std::string::npos) << status.message();
  EXPECT_FALSE(matcher.accept('a'));
  EXPECT_EQ(matcher.status().message(), status.message());
}

}  // namespace
}  // namespace fathom::constrain_test
