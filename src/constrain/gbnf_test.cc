#include <array>

#include "constrain/limits.h"
#include "constrain/test_support.h"

namespace fathom::constrain_test {
namespace {

TEST(Gbnf, Syntax) {
  struct Case {
    const char* grammar;
    std::vector<std::string> accepted;
    std::vector<std::string> rejected;
  };
  const std::vector<Case> cases = {
      {"root ::= \"yes\" | \"no\"", {"yes", "no"}, {"", "ye", "yesno"}},
      {"# a comment\nroot ::= a b # and one here\n\na ::= \"x\"*\nb ::= [yz]+\n", {"y", "xxzy"}, {"xx"}},
      {"root ::=\n  \"a\" |\n  (\"b\"\n \"c\")\n", {"a", "bc"}, {"b"}},
      {"root ::= \"a\" |\nroot-2 ::= \"b\"", {}, {}},
      {"root ::= (| \"a\") \"b\"", {"b", "ab"}, {"a"}},
      {"root ::= \"a\"{2} \"b\"{1,} \"c\"{0,2} \"d\"? ", {"aab", "aabbccd"}, {"ab", "aabccc"}},
      {"root ::= [^a-z\\n]", {"A", "\u4f60"}, {"a", "\n"}},
      {"root ::= [a-z\\-\\]\\\\^]+", {"a-]\\^"}, {"A"}},
      {"root ::= \"\\x41\\u4f60\\U0001F600\\n\\t\\r\\\"\\\\\"", {"A\u4f60\U0001f600\n\t\r\"\\"}, {"A"}},
      {"root ::= .", {"\n", "\u4f60"}, {"", "ab"}},
      {"root ::= \"\"", {""}, {"a"}},
      {"root ::= \"(\" root \")\" | \"\"", {"", "()", "(())"}, {"(", "())"}},
      // Right recursion takes no stack; many ways to read a text stay few.
      {"root ::= \"a\" root | \"a\" root \"b\" | \"a\"",
       {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbb", "a"},
       {"b", "ab"}},
      {"root ::= item (\", \" item)*\nitem ::= [a-z]+ | \"[\" root \"]\"", {"a, [b, [c]], d"}, {"a,b", "[a"}},
  };
  for (const Case& c : cases) {
    if (c.accepted.empty()) continue;
    const Compiled compiled = compile(Kind::kGrammar, c.grammar);
    ASSERT_NE(compiled, nullptr);
    for (const auto& text : c.accepted) EXPECT_TRUE(accepts(compiled, text)) << c.grammar << ": " << text;
    for (const auto& text : c.rejected) EXPECT_FALSE(accepts(compiled, text)) << c.grammar << ": " << text;
  }
}

TEST(Gbnf, Refusals) {
  const std::vector<std::array<const char*, 2>> cases = {
      {"", "there is no rule \"root\""},
      {"a ::= \"b\"", "there is no rule \"root\""},
      {"root ::= a\na ::= b\n\n", "line 2: there is no rule \"b\""},
      {"root ::= \"a\"\nroot ::= \"b\"", "line 2: a second rule \"root\" (the first is in line 1)"},
      {"root ::= a\na ::= b \"x\"\nb ::= \"y\"? a",
       "rule \"a\" (line 2) is left recursive: it refers to itself before any text"},
      {"root ::= root", "rule \"root\" (line 1) is left recursive: it refers to itself before any text"},
      {"root ::= \"a\" root", "no text can match"},
      {"root ::= []", "no text can match"},
      {"root = \"a\"", "line 1: expected ::= after \"root\""},
      {"\n\n::= \"a\"", "line 3: expected the name of a rule"},
      {"root ::= \"a\n\n", "line 1: a literal without its closing '\"'"},
      {"root ::= [a", "line 1: a class without ']'"},
      {"root ::= [b-a]", "line 1: a range that goes down"},
      {"root ::= (\"a\"", "line 1: a group without ')'"},
      {"root ::= \"a\")", "line 1: unexpected ')'"},
      {"root ::= *", "line 1: unexpected '*'"},
      {"root ::= <[10]>", "line 1: unexpected '<'"},
      {"root ::= \"\\q\"", "line 1: this escape is not supported"},
      {"root ::= \"\\x4g\"", "line 1: this escape needs 2 hex digits"},
      {"root ::= \"\\U00110000\"", "line 1: U+110000 is not a character"},
      {"root ::=\n\"a\"{20000}", "line 2: a repetition of 20000 is over the limit of 10000"},
      {"root ::= \"\xff\"", "line 1: not UTF-8"},
  };
  for (const auto& [grammar, message] : cases) {
    EXPECT_EQ(error_of(Kind::kGrammar, grammar), std::string("grammar: ") + message) << grammar;
  }
}

TEST(Gbnf, Bombs) {
  std::string doubling = "root ::= r0\n";
  for (int i = 0; i < 200; ++i) doubling += fmt::format("r{} ::= r{} r{}\n", i, i + 1, i + 1);
  // Rules are not written out twice each, but called: 200 deep, which is allowed.
  EXPECT_EQ(error_of(Kind::kGrammar, doubling + "r200 ::= \"a\""), "no error");
  std::string many = "root ::= \"a\"\n";
  for (size_t i = 0; i < kMaxGrammarRules; ++i) many += fmt::format("r{} ::= \"a\"\n", i);
  EXPECT_EQ(error_of(Kind::kGrammar, many), "grammar: 4097 rules are over the limit of 4096");
  EXPECT_EQ(error_of(Kind::kGrammar, "root ::= " + std::string(60000, '(')),
            "grammar: line 1: groups nested deeper than the limit of 64");
  EXPECT_EQ(error_of(Kind::kGrammar, "root ::= \"a\"" + std::string(60000, '?')),
            "grammar: line 1: repetitions nested deeper than the limit of 64");
  std::string deep = "root ::= r0\n";
  for (int i = 0; i < 300; ++i) deep += fmt::format("r{} ::= r{} \"b\"\n", i, i + 1);
  EXPECT_EQ(error_of(Kind::kGrammar, deep + "r300 ::= \"a\""),
            "grammar: every text needs rules nested 300 deep, over the limit of 256");
}

}  // namespace
}  // namespace fathom::constrain_test
