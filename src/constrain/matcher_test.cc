#include <thread>

#include "base/random.h"

#include "constrain/limits.h"
#include "constrain/test_support.h"
#include "text/tiny_tokenizer.h"

namespace fathom::constrain_test {
namespace {

TEST(Matcher, ChoiceAndEnds) {
  const Vocabulary vocabulary({"yes", "yesterday", "ye", "no", "nothing"});
  const auto compiled =
      CompiledConstraint::compile({Kind::kChoice, "", {"yes", "yesterday", "no"}}, vocabulary.trie).value();
  ConstraintMatcher matcher(compiled);
  const auto bits = mask_of(matcher, vocabulary);
  std::vector<int32_t> allowed;
  for (int32_t token = 0; token <= vocabulary.end_id; ++token) {
    if (is_set(bits, token)) allowed.push_back(token);
  }
  EXPECT_EQ(allowed, (std::vector<int32_t>{'n', 'y', 256, 257, 258, 259}));
  EXPECT_FALSE(matcher.accept(vocabulary.end_id));
  EXPECT_FALSE(matcher.accept(260));
  EXPECT_FALSE(matcher.accept(-1));
  EXPECT_FALSE(matcher.accept(100000));
  EXPECT_TRUE(matcher.accept(256));
  EXPECT_TRUE(matcher.is_complete());
  EXPECT_FALSE(matcher.can_end_only());
  EXPECT_TRUE(is_set(mask_of(matcher, vocabulary), vocabulary.end_id));
  ConstraintMatcher longer = matcher;
  EXPECT_TRUE(matcher.accept(vocabulary.end_id));
  EXPECT_FALSE(matcher.accept('t'));
  EXPECT_TRUE(matcher.can_end_only());
  EXPECT_TRUE(matcher.accept(vocabulary.end_id));
  EXPECT_TRUE(longer.accept('t'));
  EXPECT_FALSE(longer.is_complete());
  for (const char c : std::string("erday")) EXPECT_TRUE(longer.accept(c));
  EXPECT_TRUE(longer.can_end_only());
}

TEST(Matcher, ChoiceErrors) {
  const Vocabulary vocabulary;
  const auto error = [&](std::vector<std::string> choices) {
    const auto compiled =
        CompiledConstraint::compile({Kind::kChoice, "", std::move(choices)}, vocabulary.trie);
    return compiled.ok() ? "no error" : compiled.status().message();
  };
  EXPECT_EQ(error({}), "choice: there are no choices");
  EXPECT_EQ(error(std::vector<std::string>(5000, "a")), "choice: 5000 choices are over the limit of 4096");
  EXPECT_EQ(error({std::string(kMaxConstraintBytes, 'a'), "b"}),
            "choice: 262145 bytes are over the limit of 262144");
  EXPECT_EQ(error({"", "a", "a"}), "no error");
}

// Where the depth gives out, brackets that could not be closed any more are not allowed, and the text still
// ends.
TEST(Matcher, DepthIsLimitedWithoutDeadEnds) {
  const Vocabulary vocabulary({"[[", "[[[[[[[[", "]]]]", "1]"});
  const Compiled compiled =
      compile(Kind::kGrammar, "root ::= \"1\" | \"[\" root (\",\" root)? \"]\"", vocabulary);
  ConstraintMatcher matcher(compiled);
  size_t depth = 0;
  for (;; ++depth) {
    const auto bits = mask_of(matcher, vocabulary);
    const size_t left = kMaxStackDepth - depth;
    ASSERT_EQ(is_set(bits, '['), left >= 1) << depth;
    ASSERT_EQ(is_set(bits, 256), left >= 2) << depth;
    ASSERT_EQ(is_set(bits, 257), left >= 8) << depth;
    ASSERT_TRUE(is_set(bits, '1'));
    if (!is_set(bits, '[')) break;
    ASSERT_TRUE(matcher.accept('['));
  }
  EXPECT_EQ(depth, kMaxStackDepth);
  EXPECT_FALSE(matcher.accept('['));
  ASSERT_TRUE(matcher.accept('1'));
  for (; depth > 0; --depth) {
    const auto bits = mask_of(matcher, vocabulary);
    ASSERT_TRUE(is_set(bits, ']'));
    ASSERT_EQ(is_set(bits, 258), depth >= 4);
    ASSERT_TRUE(matcher.accept(']'));
  }
  EXPECT_TRUE(matcher.can_end_only());
}

// Each "a" may be followed by either rule, and each way needs another end: 2^n stacks after n of them.
constexpr const char* kManyWays =
    "root ::= x | y\n"
    "x ::= \"a\" x \"c\" | \"a\" y \"d\" | \"b\"\n"
    "y ::= \"a\" x \"e\" | \"a\" y \"f\" | \"b\"";

TEST(Matcher, WaysToReadAreLimited) {
  const Vocabulary vocabulary;
  ConstraintMatcher matcher(compile(Kind::kGrammar, kManyWays, vocabulary));
  int count = 0;
  while (matcher.accept('a')) ++count;
  EXPECT_FALSE(matcher.status().ok());
  EXPECT_EQ(matcher.status().message(),
            "the constraint can read its text in more than the limit of 128 ways at once");
  EXPECT_EQ(count, 6);
  std::vector<uint32_t> bits(vocabulary.trie->num_words());
  EXPECT_EQ(matcher.fill_mask(bits).code(), ErrorCode::kInvalidArgument);
}

// Both by tokens of one byte and by one that runs over the limit inside a walk.
TEST(Matcher, OneTextOverALimitLeavesTheOthersAlone) {
  const Vocabulary vocabulary({"aaaaaaaaaaaa"});
  const Compiled compiled = compile(Kind::kGrammar, kManyWays, vocabulary);
  ConstraintMatcher walks(compiled), steps(compiled), sound(compiled);
  ASSERT_TRUE(sound.accept('a'));
  std::vector<uint32_t> bits(vocabulary.trie->num_words());
  EXPECT_EQ(walks.fill_mask(bits).code(), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(walks.accept('b'));
  while (steps.accept('a')) continue;
  EXPECT_FALSE(steps.status().ok());
  ASSERT_TRUE(sound.accept('b'));
  EXPECT_TRUE(sound.accept('c'));
  EXPECT_TRUE(sound.is_complete());
  EXPECT_TRUE(sound.status().ok());
  EXPECT_FALSE(compiled->is_worn());
}

TEST(Matcher, AnswersMayBeginOtherwise) {
  const Vocabulary vocabulary;
  const auto made = CompiledConstraint::compile(
      {Kind::kJsonSchema,
       R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "additionalProperties": false})",
       {},
       "<call>"},
      vocabulary.trie);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_TRUE(accepts(*made, R"({"a":{"a":{}}})"));
  EXPECT_FALSE(accepts(*made, R"({"a":<call>})"));
  EXPECT_TRUE(accepts(*made, "<call>"));
  EXPECT_TRUE(accepts(*made, "<call>{anything 话 </call> at all"));
  EXPECT_FALSE(accepts(*made, "<cal"));
  ConstraintMatcher matcher(*made);
  for (const char c : std::string_view("{}")) ASSERT_TRUE(matcher.accept(c));
  EXPECT_TRUE(matcher.can_end_only());
}

TEST(Matcher, ThreadsShareAConstraint) {
  const Vocabulary vocabulary({"{\"", "\":", "\",", "},{", "]]", "[[1", "true", ", \"", "abc"});
  const Compiled compiled = compile(Kind::kJsonObject, "", vocabulary);
  const auto run = [&](uint64_t seed) {
    std::vector<std::vector<uint32_t>> masks;
    ConstraintMatcher matcher(compiled);
    for (uint64_t step = 0; step < 200 && !matcher.can_end_only(); ++step) {
      masks.push_back(mask_of(matcher, vocabulary));
      uint64_t token = random_bits(seed, step) % 265;
      while (!is_set(masks.back(), static_cast<int32_t>(token))) token = (token + 1) % 266;
      matcher.accept(static_cast<int32_t>(token));
    }
    return masks;
  };
  std::vector<std::vector<std::vector<uint32_t>>> results(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < results.size(); ++i) threads.emplace_back([&, i] { results[i] = run(i); });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i], run(i)) << i;
}

TEST(TokenTrie, LeavesOutSpecialTokens) {
  const auto tokenizer = tiny::load(tiny::tokenizer_json({{"a", "b"}})).value();
  const int32_t end = *tokenizer->eos_id();
  const auto trie = TokenTrie::create(*tokenizer, {end}).value();
  EXPECT_EQ(trie->vocabulary(), 259u);
  EXPECT_EQ(trie->bytes(256), "ab");
  EXPECT_EQ(trie->bytes(257), "");
  EXPECT_EQ(trie->bytes(end), "");
  EXPECT_EQ(trie->tokens().size(), 257u);
  const auto compiled = CompiledConstraint::compile({Kind::kRegex, "(.|\\n)*", {}}, trie).value();
  ConstraintMatcher matcher(compiled);
  std::vector<uint32_t> bits(trie->num_words());
  ASSERT_TRUE(matcher.fill_mask(bits).ok());
  EXPECT_TRUE(is_set(bits, 256));
  EXPECT_FALSE(is_set(bits, 257));
  EXPECT_TRUE(is_set(bits, end));
  EXPECT_FALSE(is_set(bits, 0xff));  // never part of UTF-8
  EXPECT_EQ(TokenTrie::create(*tokenizer, {}).status().message(), "a constraint needs an end-of-text token");
  EXPECT_EQ(TokenTrie::create(*tokenizer, {259}).status().message(),
            "end token 259 is outside the vocabulary of 259");
}

}  // namespace
}  // namespace fathom::constrain_test
