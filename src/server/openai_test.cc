// Requests and replies of OpenAI's interface over a tiny model; the whole way is tested end to end.
#include "server/openai.h"

#include <gtest/gtest.h>

#include "server/sse.h"
#include "server/submission.h"
#include "support/engine.h"

namespace fathom::testing {
namespace {

class OpenAiTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string folder = std::string(FATHOM_SOURCE_DIR) + "/models/demo";
    engine_ = load_engine(small_options(folder));
    ASSERT_NE(engine_, nullptr);
    auto model = ServedModel::create(*engine_, folder, {"demo"}, SamplingDefaults::kModel);
    ASSERT_TRUE(model.ok()) << model.status().message();
    model_ = std::move(model).value();
  }
  static void TearDownTestSuite() {
    model_.reset();
    engine_.reset();
  }

  static CompletionRequest parse(CompletionKind kind, const char* body) {
    auto result = parse_completion(kind, parse_json(body, "test", {}).value(), *model_, {});
    if (const auto* error = std::get_if<ApiError>(&result)) {
      ADD_FAILURE() << error->message;
      return {};
    }
    return std::get<CompletionRequest>(std::move(result));
  }

  static std::unique_ptr<Engine> engine_;
  static std::unique_ptr<ServedModel> model_;
};

std::unique_ptr<Engine> OpenAiTest::engine_;
std::unique_ptr<ServedModel> OpenAiTest::model_;

TEST_F(OpenAiTest, DefaultsAreTheModels) {
  const CompletionRequest text = parse(CompletionKind::kText, R"({"prompt": [5, 6]})");
  EXPECT_EQ(text.generation.sampling.temperature, 0.8);
  EXPECT_EQ(text.generation.sampling.top_p, 0.95);
  EXPECT_EQ(text.generation.sampling.max_tokens, 16);
  EXPECT_TRUE(text.generation.sampling.seed.has_value());
  const CompletionRequest chat =
      parse(CompletionKind::kChat, R"({"messages": [{"role": "user", "content": "x"}]})");
  const auto prompt_tokens = static_cast<int64_t>(chat.generation.prompts[0].size());
  EXPECT_EQ(chat.generation.sampling.max_tokens, model_->max_model_len() - prompt_tokens);
}

TEST_F(OpenAiTest, FieldsArriveWhereTheyBelong) {
  const CompletionRequest request = parse(
      CompletionKind::kText,
      R"({"prompt": ["a", [7]], "n": 2, "max_tokens": 9, "min_tokens": 3, "temperature": 1.5, "top_p": 0.5, "top_k": 4,
          "min_p": 0.1, "presence_penalty": -1, "frequency_penalty": 2, "repetition_penalty": 1.1, "seed": -1,
          "stop": ["", "y"], "stop_token_ids": [3], "logit_bias": {"5": -2.5}, "ignore_eos": true, "logprobs": 0,
          "echo": true, "include_stop_str_in_output": true, "skip_special_tokens": false, "cache_salt": "s",
          "priority": -3, "stream": true, "stream_options": {"include_usage": true}, "odd": 1, "user": "u"})");
  const SamplingParams& sampling = request.generation.sampling;
  EXPECT_EQ(request.generation.prompts.size(), 2u);
  EXPECT_EQ(request.generation.num_sequences(), 4);
  EXPECT_EQ(request.generation.prompt_logprobs, 0);
  EXPECT_EQ(request.generation.cache_salt, "s");
  EXPECT_EQ(request.generation.priority, -3);
  EXPECT_EQ(sampling.max_tokens, 9);
  EXPECT_EQ(sampling.min_tokens, 3);
  EXPECT_EQ(sampling.temperature, 1.5);
  EXPECT_EQ(sampling.top_p, 0.5);
  EXPECT_EQ(sampling.top_k, 4);
  EXPECT_EQ(sampling.min_p, 0.1);
  EXPECT_EQ(sampling.presence_penalty, -1);
  EXPECT_EQ(sampling.frequency_penalty, 2);
  EXPECT_EQ(sampling.repetition_penalty, 1.1);
  EXPECT_EQ(sampling.seed, UINT64_MAX);
  EXPECT_EQ(sampling.stop_strings, std::vector<std::string>{"y"});
  EXPECT_EQ(sampling.stop_token_ids, std::vector<int32_t>{3});
  EXPECT_EQ(sampling.logit_bias, (std::vector<LogitBias>{{5, -2.5}}));
  EXPECT_EQ(sampling.logprobs, 0);
  EXPECT_TRUE(sampling.ignore_eos && sampling.show_stop_string && sampling.show_special_tokens);
  EXPECT_TRUE(request.reply.stream && request.reply.include_usage && request.reply.echo &&
              request.reply.logprobs);
  EXPECT_EQ(request.unknown, std::vector<std::string>{"odd"});
}

TEST_F(OpenAiTest, PromptsBecomeRequestsOfTheEngine) {
  GenerationRequest request;
  request.prompts = {{1}, {2, 3}};
  request.n = 2;
  request.prompt_logprobs = 4;
  request.priority = -7;
  request.cache_salt = "s";
  request.sampling.seed = 9;
  const std::vector<PlannedPrompt> planned = plan_prompts(request);
  ASSERT_EQ(planned.size(), 2u);
  EXPECT_EQ(planned[1].first_index, 2);
  EXPECT_EQ(planned[1].request.prompt_ids, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(planned[1].request.sampling.seed, 9u);
  EXPECT_EQ(planned[1].request.n, 2);
  EXPECT_EQ(planned[1].request.priority, -7);
  EXPECT_EQ(planned[1].request.cache_salt, "s");
  EXPECT_EQ(planned[1].request.scoring.first, 1);
  EXPECT_EQ(planned[1].request.scoring.num_top, 4);
  EXPECT_FALSE(planned[0].request.scoring.first.has_value());  // nothing comes before its only token
  EXPECT_TRUE(planned[0].scores_prompt);
}

TEST_F(OpenAiTest, TextLogprobsCountCharacters) {
  const auto ids = std::get<std::vector<int32_t>>(model_->encode("é话x", {}));
  std::vector<SampledToken> tokens;
  for (int32_t id : ids)
    tokens.push_back({.id = id, .logprob = -1.0, .top_logprobs = {{id, -1.0}, {40, -2.0}}});
  tokens[0].logprob.reset();
  int64_t offset = 0;
  const Json json = text_logprobs_json(model_->tokenizer(), tokens, offset);
  EXPECT_EQ(offset, 3);  // BOS is no part of the text
  EXPECT_TRUE(json["token_logprobs"][0].is_null());
  EXPECT_TRUE(json["top_logprobs"][0].is_null());
  EXPECT_EQ(json["top_logprobs"][1].size(), 2u);
  // A byte that is no character by itself.
  const auto part = model_->tokenizer()->find("Ã");
  ASSERT_TRUE(part.has_value());
  const Json bytes =
      text_logprobs_json(model_->tokenizer(), {{.id = *part, .logprob = -1.0, .top_logprobs = {}}}, offset);
  EXPECT_EQ(bytes["tokens"][0], "bytes:\\xc3");
}

TEST_F(OpenAiTest, ChunksHaveOneShape) {
  ReplyWriter writer({.kind = CompletionKind::kChat, .stream = true, .include_usage = true}, "id", *model_);
  const Json first = parse_json(writer.role_chunk(1), "chunk", {}).value();
  EXPECT_EQ(first["id"], "chatcmpl-id");
  EXPECT_EQ(first["choices"][0]["delta"]["role"], "assistant");
  EXPECT_TRUE(first["usage"].is_null());
  const Json text = parse_json(writer.chunk({.index = 1, .text = "a\nb"}, std::nullopt), "chunk", {}).value();
  EXPECT_EQ(text["choices"][0]["delta"]["content"], "a\nb");
  EXPECT_TRUE(text["choices"][0]["finish_reason"].is_null());
  const Json usage =
      parse_json(writer.usage_chunk({.prompt_tokens = 2, .completion_tokens = 3}), "chunk", {}).value();
  EXPECT_EQ(usage["choices"], Json::array());
  EXPECT_EQ(usage["usage"]["total_tokens"], 5);
  EXPECT_EQ(sse_event("{}"), "data: {}\n\n");
}

}  // namespace
}  // namespace fathom::testing
