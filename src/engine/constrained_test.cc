// Constrained answers of a model that knows nothing: whatever it would rather say, they match.
#include <gtest/gtest.h>

#include "constrain/constraint.h"
#include "support/tiny_engine.h"

namespace fathom::testing {
namespace {

using Kind = ConstraintSpec::Kind;

// Tokens of the tiny model: 1 is the end, 2 to 11 the digits, then letters and longer ones.
std::shared_ptr<const TokenTrie> tiny_trie() {
  std::vector<std::string> tokens = {"", ""};
  for (const char byte : std::string("0123456789abcdefghij{}\":, ")) tokens.emplace_back(1, byte);
  for (const char* longer : {"12", "345", "ab", "abc", "{\"", "\":", "00"}) tokens.emplace_back(longer);
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  return TokenTrie::create(views, {1}).value();
}

class ConstrainedTest : public TinyEngineTest {
 protected:
  std::shared_ptr<const CompiledConstraint> compile(Kind kind, const std::string& text) {
    auto made = CompiledConstraint::compile({.kind = kind, .text = text, .choices = {}}, trie_);
    EXPECT_TRUE(made.ok()) << made.status().message();
    return made.value();
  }

  struct Ended {
    std::string text;
    std::vector<int32_t> ids;
    FinishReason reason = FinishReason::kNone;
    Status status;
  };
  std::vector<Ended> run(const Request& request) {
    std::vector<Ended> ended(static_cast<size_t>(request.n));
    const auto id = engine_->submit(request, [&](const RequestEvent& event) {
      Ended& mine = ended[static_cast<size_t>(event.choice)];
      if (event.token_id) {
        mine.ids.push_back(*event.token_id);
        mine.text += trie_->bytes(*event.token_id);
      }
      mine.reason = event.finish_reason;
      mine.status = event.status;
    });
    EXPECT_TRUE(id.ok()) << id.status().message();
    while (engine_->has_work()) EXPECT_TRUE(engine_->step().ok());
    return ended;
  }

  std::shared_ptr<const TokenTrie> trie_ = tiny_trie();
};

SamplingParams sampled(uint64_t seed) {
  SamplingParams sampling;
  sampling.seed = seed;
  sampling.max_tokens = 100;
  sampling.logprobs = 0;
  return sampling;
}

bool matches(const std::shared_ptr<const CompiledConstraint>& constraint, const std::vector<int32_t>& ids) {
  ConstraintMatcher matcher(constraint);
  for (int32_t id : ids) {
    if (!matcher.accept(id)) return false;
  }
  return matcher.is_complete();
}

TEST_F(ConstrainedTest, EveryAnswerMatches) {
  for (const char* pattern : {"[0-9]{3,8}", "(ab|abc)+[0-4]?", "0*1"}) {
    const auto constraint = compile(Kind::kRegex, pattern);
    for (const double temperature : {0.0, 1.0, 2.0}) {
      SamplingParams sampling = sampled(3);
      sampling.temperature = temperature;
      sampling.frequency_penalty = temperature;
      const auto answers =
          run({.prompt_ids = {5, 6}, .sampling = sampling, .n = 20, .constraint = constraint});
      for (const Ended& answer : answers) {
        ASSERT_TRUE(answer.status.ok()) << answer.status.message();
        if (answer.reason == FinishReason::kLength) continue;  // "0*" may go on
        EXPECT_EQ(answer.reason, FinishReason::kStop);
        EXPECT_TRUE(matches(constraint, answer.ids)) << pattern << " " << answer.text;
      }
    }
  }
}

// The end needs no token where nothing else may follow, not even the last of max_tokens.
TEST_F(ConstrainedTest, EndsWithStopWhereOnlyTheEndMayFollow) {
  SamplingParams sampling = sampled(1);
  sampling.max_tokens = 3;
  sampling.min_tokens = 3;
  const auto answers = run(
      {.prompt_ids = {5}, .sampling = sampling, .n = 8, .constraint = compile(Kind::kRegex, "[a-c][d-f]")});
  for (const Ended& answer : answers) {
    EXPECT_EQ(answer.ids.size(), 2u);
    EXPECT_EQ(answer.reason, FinishReason::kStop);
  }
  sampling.max_tokens = 2;
  EXPECT_EQ(
      run({.prompt_ids = {5}, .sampling = sampling, .constraint = compile(Kind::kRegex, "[a-c][d-f]")})[0]
          .reason,
      FinishReason::kStop);
  // The empty text is a match, and its end has to be drawn.
  const Ended empty =
      run({.prompt_ids = {5}, .sampling = sampling, .constraint = compile(Kind::kRegex, "")})[0];
  EXPECT_EQ(empty.ids, std::vector<int32_t>{1});
  EXPECT_EQ(empty.reason, FinishReason::kStop);
}

// While the text can go on, min_tokens puts the end off and ignore_eos avoids it.
TEST_F(ConstrainedTest, MinTokensAndIgnoreEos) {
  const auto digits = compile(Kind::kRegex, "[0-9]{0,6}");
  SamplingParams sampling = sampled(1);
  sampling.logit_bias = {{1, 100}};  // ends as soon as it may
  const Request free{.prompt_ids = {5}, .sampling = sampling, .n = 8, .constraint = digits};
  for (const Ended& answer : run(free)) EXPECT_EQ(answer.text, "");
  Request late = free;
  late.sampling.min_tokens = 2;
  for (const Ended& answer : run(late)) {
    ASSERT_GE(answer.ids.size(), 2u);
    EXPECT_TRUE(answer.ids.size() == 3 || answer.text.size() == 6) << answer.text;
    EXPECT_EQ(answer.reason, FinishReason::kStop);
  }
  Request never = free;
  never.sampling.ignore_eos = true;
  for (const Ended& answer : run(never)) {
    EXPECT_EQ(answer.text.size(), 6u);
    EXPECT_EQ(answer.reason, FinishReason::kStop);
  }
}

// A stop token that is the only one left is drawn, however early.
TEST_F(ConstrainedTest, StopTokensGiveWayToo) {
  SamplingParams sampling = sampled(1);
  sampling.min_tokens = 5;
  sampling.stop_token_ids = {2};
  const Ended answer =
      run({.prompt_ids = {5}, .sampling = sampling, .constraint = compile(Kind::kRegex, "0[a-c]+")})[0];
  EXPECT_EQ(answer.ids, std::vector<int32_t>{2});
  EXPECT_EQ(answer.reason, FinishReason::kStop);
}

TEST_F(ConstrainedTest, ChoicesEqualSingleRequests) {
  const auto constraint = compile(Kind::kRegex, "([a-j]|[0-9]{2})*");
  SamplingParams sampling = sampled(7);
  sampling.max_tokens = 20;
  const auto choices = run({.prompt_ids = {5, 6}, .sampling = sampling, .n = 4, .constraint = constraint});
  for (int32_t i = 0; i < 4; ++i) {
    sampling.seed = choice_seed(7, i);
    const auto single = run({.prompt_ids = {5, 6}, .sampling = sampling, .constraint = constraint});
    EXPECT_EQ(choices[static_cast<size_t>(i)].ids, single[0].ids) << i;
  }
}

TEST_F(ConstrainedTest, FailsWhereNoTokenFits) {
  const Ended answer =
      run({.prompt_ids = {5}, .sampling = sampled(1), .constraint = compile(Kind::kRegex, "[a-c]Z[a-c]")})[0];
  EXPECT_EQ(answer.reason, FinishReason::kError);
  EXPECT_FALSE(answer.status.ok());
  EXPECT_EQ(engine_->statistics().pages_used, 0);
}

TEST_F(ConstrainedTest, RefusesAnotherVocabulary) {
  const std::vector<std::string> tokens(41, "a");
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  trie_ = TokenTrie::create(views, {1}).value();
  const auto status =
      engine_
          ->submit(
              {.prompt_ids = {1}, .sampling = greedy_params(1), .constraint = compile(Kind::kRegex, "a")},
              [](const RequestEvent&) {})
          .status();
  EXPECT_EQ(status.message(), "constraint: made for 41 tokens, the model has 40");
  EXPECT_EQ(engine_->token_trie(), nullptr);  // the folder has no tokenizer
}

}  // namespace
}  // namespace fathom::testing
