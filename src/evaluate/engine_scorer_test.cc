// Answers of an engine on the demo model against its own logits, whatever the batch.
#include "evaluate/engine_scorer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "evaluate/pair_encoding.h"
#include "sample/log_softmax.h"
#include "support/engine.h"

namespace fathom::testing {
namespace {

const std::string kDemo = std::string(FATHOM_SOURCE_DIR) + "/models/demo";

std::unique_ptr<Engine> demo_engine(int64_t max_num_seqs, int64_t max_num_batched_tokens) {
  EngineOptions options = small_options(kDemo);
  options.max_num_seqs = max_num_seqs;
  options.max_num_batched_tokens = max_num_batched_tokens;
  options.max_model_len = 128;
  return load_engine(options);
}

double score_measured(Engine& engine, const MeasuredTokens& tokens) {
  const std::vector<float> logits = score_all(engine, tokens.ids);
  const auto width = static_cast<size_t>(engine.config().vocab_size);
  double sum = 0;
  for (size_t i = tokens.first; i < tokens.ids.size(); ++i) {
    const auto row = std::span(logits).subspan((i - 1) * width, width);
    sum += LogSoftmax(row).of(row[static_cast<size_t>(tokens.ids[i])]);
  }
  return sum;
}

std::vector<Query> queries() {
  std::string long_text;
  for (int i = 0; i < 60; ++i) long_text += "The lane was quiet. ";
  return {{.kind = QueryKind::kContinuations,
           .prompt = "The old house",
           .choices = {" was", " stood at the end", " was"}},
          {.kind = QueryKind::kNextToken, .prompt = "The old house", .choices = {"it was", " was"}},
          {.kind = QueryKind::kWholeText, .prompt = long_text},
          {.kind = QueryKind::kGenerate, .prompt = "The old house", .max_tokens = 12},
          {.kind = QueryKind::kGenerate, .prompt = "The old house", .until = {"e"}, .max_tokens = 12},
          {.kind = QueryKind::kContinuations, .prompt = long_text, .choices = {" yes", " no"}},
          {.kind = QueryKind::kGenerate, .prompt = long_text, .max_tokens = 3}};
}

std::vector<fathom::Answer> answers_of(Engine& engine, int64_t max_at_once, const std::vector<Query>& asked) {
  EngineScorer scorer(engine, max_at_once);
  std::vector<fathom::Answer> answers(asked.size());
  std::vector<int> times(asked.size());
  const Status status = scorer.answer(asked, [&](size_t index, fathom::Answer answer) {
    answers[index] = std::move(answer);
    ++times[index];
    return ok_status();
  });
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(times, std::vector<int>(asked.size(), 1));
  return answers;
}

TEST(EngineScorer, EqualsTheLogits) {
  const auto engine = demo_engine(8, 128);
  ASSERT_NE(engine, nullptr);
  const std::vector<Query> asked = queries();
  const std::vector<fathom::Answer> answers = answers_of(*engine, 8, asked);
  for (const size_t query : {size_t{0}, size_t{5}}) {
    for (size_t i = 0; i < asked[query].choices.size(); ++i) {
      auto tokens = encode_pair(*engine->tokenizer(), asked[query].prompt, asked[query].choices[i], 128);
      ASSERT_TRUE(tokens.ok());
      const int32_t last = tokens->ids.back();
      // As the scorer asks it: the last token is not part of the prompt.
      const std::vector<float> logits = score_all(*engine, {tokens->ids.begin(), tokens->ids.end() - 1});
      const auto row = std::span(logits).last(static_cast<size_t>(engine->config().vocab_size));
      double want = LogSoftmax(row).of(row[static_cast<size_t>(last)]);
      if (tokens->ids.size() - tokens->first > 1) {
        tokens->ids.pop_back();
        want += score_measured(*engine, *tokens);
      }
      EXPECT_DOUBLE_EQ(answers[query].logprobs[i], want) << query << " " << i;
    }
  }
  EXPECT_EQ(answers[0].logprobs[0], answers[0].logprobs[2]);
  EXPECT_EQ(answers[1].logprobs[0], answers[1].logprobs[1]);  // the last tokens are the same
  EXPECT_EQ(answers[1].logprobs[0], answers[0].logprobs[0]);
  EXPECT_LT(answers[2].logprobs[0], -60);
  EXPECT_EQ(answers[3].output_ids.size(), 12u);
  EXPECT_FALSE(answers[3].text.empty());
  EXPECT_EQ(answers[4].text, answers[3].text.substr(0, answers[3].text.find('e')));
  EXPECT_EQ(answers[6].prompt_ids.size(), 125u);  // cut at the left
}

TEST(EngineScorer, TheBatchDoesNotMatter) {
  std::vector<Query> asked;
  for (int i = 0; i < 5; ++i) {
    for (Query query : queries()) {
      query.prompt.insert(0, std::to_string(i) + " ");
      asked.push_back(std::move(query));
    }
  }
  std::vector<fathom::Answer> first;
  for (const auto& [seqs, tokens] : {std::pair{1, 128}, {8, 128}, {16, 40}}) {
    const auto engine = demo_engine(seqs, tokens);
    ASSERT_NE(engine, nullptr);
    const std::vector<fathom::Answer> answers = answers_of(*engine, seqs, asked);
    if (first.empty()) first = answers;
    for (size_t i = 0; i < asked.size(); ++i) {
      EXPECT_EQ(answers[i].logprobs, first[i].logprobs) << i;
      EXPECT_EQ(answers[i].text, first[i].text) << i;
      EXPECT_EQ(answers[i].output_ids, first[i].output_ids) << i;
    }
  }
}

TEST(EngineScorer, StopsWithTheSinksError) {
  const auto engine = demo_engine(2, 128);
  ASSERT_NE(engine, nullptr);
  EngineScorer scorer(*engine, 2);
  int calls = 0;
  const Status status = scorer.answer(queries(), [&](size_t, const fathom::Answer&) {
    ++calls;
    return io_error("disk full");
  });
  EXPECT_EQ(status.message(), "disk full");
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(engine->has_work());
}

TEST(EngineScorer, RefusesWhatCannotBeAnswered) {
  const auto engine = demo_engine(2, 128);
  ASSERT_NE(engine, nullptr);
  EngineScorer scorer(*engine, 2);
  const auto refusal = [&](const Query& query) {
    return scorer.answer({&query, 1}, [](size_t, const fathom::Answer&) { return ok_status(); }).message();
  };
  EXPECT_NE(refusal({.kind = QueryKind::kGenerate, .prompt = "x", .max_tokens = 128}).find("128"),
            std::string::npos);
  EXPECT_NE(refusal({.prompt = "x", .choices = {""}}).find("adds no token"), std::string::npos);
  EXPECT_NE(refusal({.prompt = "x", .choices = {}}).find("nothing to read"), std::string::npos);
}

}  // namespace
}  // namespace fathom::testing
