// Requests and replies of OpenAI's interface over a tiny model; the whole way is tested end to end.
#include "server/openai.h"

#include <gtest/gtest.h>

#include "server/sse.h"
#include "server/submission.h"
#include "support/served_model.h"

namespace fathom::testing {
namespace {

class OpenAiTest : public DemoModelTest {
 protected:
  static CompletionRequest parse(CompletionKind kind, const char* body) {
    auto result = parse_completion(kind, parse_json(body, "test", {}).value(), *model_, {});
    if (const auto* error = std::get_if<ApiError>(&result)) {
      ADD_FAILURE() << error->message;
      return {};
    }
    return std::get<CompletionRequest>(std::move(result));
  }

  static ApiError error_of(CompletionKind kind, const char* body) {
    auto result = parse_completion(kind, json(body), *model_, {});
    if (const auto* error = std::get_if<ApiError>(&result)) return *error;
    ADD_FAILURE() << "no error: " << body;
    return {};
  }
};

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
          "min_p": 0.1, "presence_penalty": -1, "frequency_penalty": 2, "repetition_penalty": 1.1, "seed": -2,
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
  EXPECT_EQ(sampling.seed, UINT64_MAX - 1);
  EXPECT_EQ(sampling.stop_strings, std::vector<std::string>{"y"});
  EXPECT_EQ(sampling.stop_token_ids, std::vector<int32_t>{3});
  EXPECT_EQ(sampling.logit_bias, (std::vector<LogitBias>{{5, -2.5}}));
  EXPECT_EQ(sampling.logprobs, 0);
  EXPECT_TRUE(sampling.ignore_eos && sampling.show_stop_string && sampling.show_special_tokens);
  EXPECT_TRUE(request.reply.stream && request.reply.include_usage && request.reply.echo &&
              request.reply.logprobs);
  EXPECT_EQ(request.unknown, std::vector<std::string>{"odd"});
}

std::string prompt_of_zeros(int64_t count) {
  return dump_json(std::vector<int>(static_cast<size_t>(count), 0));
}

TEST_F(OpenAiTest, ALengthThatIsNotAskedForIsCutToTheRoom) {
  const int64_t context = model_->max_model_len();
  const std::string prompt = R"({"prompt": )" + prompt_of_zeros(context - 3);
  const auto max_tokens = [&](CompletionKind kind, const std::string& body) {
    return parse(kind, body.c_str()).generation.sampling.max_tokens;
  };
  EXPECT_EQ(max_tokens(CompletionKind::kText, prompt + "}"), 3);
  EXPECT_EQ(max_tokens(CompletionKind::kText, prompt + R"(, "max_tokens": -1})"), 3);
  const ApiError error = error_of(CompletionKind::kText, (prompt + R"(, "max_tokens": 16})").c_str());
  EXPECT_EQ(error.code, "context_length_exceeded");
  // Clients of llama.cpp say -1 for what fits.
  EXPECT_EQ(max_tokens(CompletionKind::kText, R"({"prompt": [5], "max_tokens": -1})"), context - 1);
  for (const char* key : {"max_tokens", "max_completion_tokens"}) {
    const std::string chat = R"({"messages": [{"role": "user", "content": "x"}])";
    EXPECT_EQ(max_tokens(CompletionKind::kChat, fmt::format("{}, \"{}\": -1}}", chat, key)),
              max_tokens(CompletionKind::kChat, chat + "}"));
    for (int wrong : {0, -2}) {
      const std::string body = fmt::format("{}, \"{}\": {}}}", chat, key, wrong);
      EXPECT_EQ(error_of(CompletionKind::kChat, body.c_str()).param, key);
    }
  }
}

TEST_F(OpenAiTest, ASeedOfMinusOneIsNone) {
  const auto seed = [] {
    return parse(CompletionKind::kText, R"({"prompt": [5], "seed": -1})").generation.sampling.seed;
  };
  EXPECT_NE(seed(), seed());
}

TEST_F(OpenAiTest, LogprobsOfAReplyHaveALimit) {
  const auto result = [](const std::string& fields, int64_t prompt_tokens, int64_t limit) {
    ServerLimits limits;
    limits.max_reply_logprobs = limit;
    const std::string body = R"({"prompt": )" + prompt_of_zeros(prompt_tokens) + fields + "}";
    return parse_completion(CompletionKind::kText, json(body.c_str()), *model_, limits);
  };
  // 100 tokens of the prompt and 10 of the answer, 3 a token, 4 times.
  const std::string scored = R"(, "echo": true, "logprobs": 2, "n": 4, "max_tokens": 10)";
  EXPECT_TRUE(std::holds_alternative<CompletionRequest>(result(scored, 100, 1320)));
  const auto refused = result(scored, 100, 1319);
  ASSERT_TRUE(std::holds_alternative<ApiError>(refused));
  EXPECT_EQ(std::get<ApiError>(refused).status, 400);
  EXPECT_EQ(std::get<ApiError>(refused).param, "logprobs");
  EXPECT_EQ(std::get<ApiError>(refused).message,
            "logprobs: the reply could hold 1320 log-probabilities, counting alternatives and choices; 1319 "
            "are the limit");
  // A stream holds those of a prompt only, and a default length is cut.
  EXPECT_TRUE(std::holds_alternative<CompletionRequest>(result(scored + R"(, "stream": true)", 100, 1200)));
  const auto cut = result(R"(, "logprobs": 2, "max_tokens": -1)", 100, 30);
  ASSERT_TRUE(std::holds_alternative<CompletionRequest>(cut));
  EXPECT_EQ(std::get<CompletionRequest>(cut).generation.sampling.max_tokens, 10);
  EXPECT_TRUE(std::holds_alternative<ApiError>(result(R"(, "logprobs": 2, "n": 16)", 100, 40)));
  EXPECT_TRUE(std::holds_alternative<ApiError>(result(R"(, "prompt_logprobs": 20)", 100, 2099)));
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

TEST_F(OpenAiTest, ToolsAreRenderedAndForced) {
  const std::string tools =
      R"("messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": {"name": "f",
      "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}])";
  const auto prompt = [&](const std::string& more) {
    const CompletionRequest request = parse(CompletionKind::kChat, ("{" + tools + more + "}").c_str());
    return std::pair(model_->tokenizer()->decode(request.generation.prompts.at(0)), request.constraint);
  };
  const auto [free, free_constraint] = prompt("");
  EXPECT_NE(free.find("<tools>\n{\"type\":\"function\""), std::string::npos) << free;
  EXPECT_FALSE(free_constraint.has_value());
  const auto [none, none_constraint] = prompt(R"(, "tool_choice": "none")");
  EXPECT_EQ(none.find("<tools>"), std::string::npos);
  const auto [forced, forced_constraint] =
      prompt(R"(, "tool_choice": {"type": "function", "function": {"name": "f"}})");
  ASSERT_TRUE(forced_constraint.has_value());
  EXPECT_EQ(forced_constraint->param, "tools");
  EXPECT_NE(forced.find("Call the function f."), std::string::npos);
}

TEST_F(OpenAiTest, ErrorsNameTheField) {
  const struct {
    const char* fields;
    const char* param;
  } kCases[] = {
      {R"("tools": [{"type": "web_search"}])", "tools"},
      {R"("tools": [{"type": "function", "function": {"name": "a b"}}])", "tools"},
      {R"("tool_choice": "required")", "tool_choice"},
      {R"("tools": [{"function": {"name": "f"}}], "tool_choice": {"type": "function", "function": {"name": "g"}})",
       "tool_choice"},
      {R"("tools": [{"function": {"name": "f", "parameters": {"type": "array"}}}], "tool_choice": "required")",
       "tools"},
      {R"("tools": [{"function": {"name": "f"}}], "tool_choice": "required", "regex": "a")", "regex"},
      {R"("response_format": {"type": "xml"})", "response_format"},
      {R"("guided_choice": [])", "guided_choice"},
      {R"("guided_regex": "a", "response_format": {"type": "json_object"})", "guided_regex"},
      {R"("structured_outputs": {"structural_tag": "x"})", "structured_outputs.structural_tag"},
      {R"("continue_final_message": true)", "continue_final_message"},
      {R"("prompt_logprobs": 1, "stream": true)", "prompt_logprobs"},
      {R"("prompt_logprobs": 21)", "prompt_logprobs"},
      {R"("best_of": 2)", "best_of"},
      {R"("truncate_prompt_tokens": 0)", "truncate_prompt_tokens"},
      {R"("truncate_prompt_tokens": -2)", "truncate_prompt_tokens"},
  };
  for (const auto& test : kCases) {
    const std::string body =
        std::string(R"({"messages": [{"role": "user", "content": "x"}], )") + test.fields + "}";
    const ApiError error = error_of(CompletionKind::kChat, body.c_str());
    EXPECT_EQ(error.status, 400) << body;
    EXPECT_EQ(error.param, test.param) << body << error.message;
  }
}

TEST_F(OpenAiTest, AFormatHoldsWhatIsNotACall) {
  const std::string body = R"({"messages": [{"role": "user", "content": "x"}],
      "response_format": {"type": "json_object"}, "tools": [{"function": {"name": "f"}}], "tool_choice": )";
  const CompletionRequest free = parse(CompletionKind::kChat, (body + R"("auto"})").c_str());
  EXPECT_EQ(free.constraint->spec.kind, ConstraintSpec::Kind::kJsonObject);
  EXPECT_EQ(free.constraint->spec.or_begins_with, "<tool_call>");
  const CompletionRequest none = parse(CompletionKind::kChat, (body + R"("none"})").c_str());
  EXPECT_EQ(none.constraint->spec.or_begins_with, "");
  const CompletionRequest forced = parse(CompletionKind::kChat, (body + R"("required"})").c_str());
  EXPECT_EQ(forced.constraint->spec.kind, ConstraintSpec::Kind::kJsonSchema);
  EXPECT_EQ(forced.constraint->param, "tools");
}

TEST_F(OpenAiTest, PromptsAreCutAtTheirBeginning) {
  const CompletionRequest two = parse(
      CompletionKind::kText, R"({"prompt": [[1, 2, 3, 4], [5]], "truncate_prompt_tokens": 2, "echo": true})");
  EXPECT_EQ(two.generation.prompts, (std::vector<std::vector<int32_t>>{{3, 4}, {5}}));
  EXPECT_EQ(two.echoed[0], model_->tokenizer()->decode(std::vector<int32_t>{3, 4}, SpecialInOutput::kSkip));
  const std::string room = "{\"prompt\": " + Json(std::vector<int32_t>(200, 7)).dump() +
                           ", \"max_tokens\": 10, \"truncate_prompt_tokens\": -1}";
  const int64_t most = model_->max_model_len() - 10;
  EXPECT_EQ(static_cast<int64_t>(parse(CompletionKind::kText, room.c_str()).generation.prompts[0].size()),
            std::min<int64_t>(200, most));
}

TEST_F(OpenAiTest, TheLikeliestOfManyAreShown) {
  const CompletionRequest request = parse(CompletionKind::kText, R"({"prompt": "x", "n": 2, "best_of": 3})");
  EXPECT_EQ(request.generation.n, 3);
  EXPECT_EQ(request.generation.sampling.logprobs, 0);
  EXPECT_TRUE(request.reply.keeps_tokens());
  std::vector<ChoicePiece> choices(3);
  const double logprobs[] = {-2, -1, -0.5};
  for (size_t i = 0; i < 3; ++i) {
    choices[i].text = std::string(1, static_cast<char>('a' + i));
    choices[i].tokens = {{.id = 5, .logprob = logprobs[i], .top_logprobs = {}},
                         {.id = 6, .logprob = i == 1 ? -0.1 : logprobs[i], .top_logprobs = {}}};
  }
  ReplyWriter writer(request.reply, "id", *model_);
  const Json shown = json(writer.whole(choices, {}).c_str())["choices"];
  ASSERT_EQ(shown.size(), 2u);
  EXPECT_EQ(shown[0]["text"], "c");
  EXPECT_EQ(shown[1]["text"], "b");
  EXPECT_EQ(shown[1]["index"], 1);
  EXPECT_TRUE(shown[0]["logprobs"].is_null());
  EXPECT_EQ(error_of(CompletionKind::kText, R"({"prompt": "x", "n": 2, "best_of": 1})").param, "best_of");
  EXPECT_EQ(error_of(CompletionKind::kText, R"({"prompt": "x", "best_of": 2, "stream": true})").param,
            "best_of");
}

TEST_F(OpenAiTest, TheLastMessageIsGoneOnWith) {
  const CompletionRequest request =
      parse(CompletionKind::kChat, R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant",
      "content": "The <｜end▁of▁sentence｜> old "}], "continue_final_message": true, "add_generation_prompt": false})");
  const std::vector<int32_t>& ids = request.generation.prompts.at(0);
  const std::string text = model_->tokenizer()->decode(ids, SpecialInOutput::kKeep);
  EXPECT_TRUE(text.ends_with("Assistant: The <｜end▁of▁sentence｜> old ")) << text;
  // What a message spells stays text.
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *model_->tokenizer()->eos_id()), 0);
}

TEST_F(OpenAiTest, PromptLogprobsAreVllms) {
  const std::vector<SampledToken> tokens = {
      {.id = 5, .logprob = {}, .top_logprobs = {}},
      {.id = 6, .logprob = -1.5, .top_logprobs = {{7, -0.5}, {6, -1.5}}},
      {.id = 8, .logprob = -9.0, .top_logprobs = {{7, -0.5}}}};
  const Json list = prompt_logprobs_json(model_->tokenizer(), tokens, {0, 2, 77});
  EXPECT_TRUE(list[0].is_null());
  EXPECT_EQ(list[1].size(), 2u);
  EXPECT_EQ(list[1]["6"]["rank"], 2);
  EXPECT_EQ(list[1]["7"]["logprob"], -0.5);
  EXPECT_EQ(list[2]["8"]["logprob"], -9.0);
  EXPECT_EQ(list[2]["8"]["rank"], 77);
  EXPECT_EQ(list[2]["7"]["rank"], 1);
}

TEST_F(OpenAiTest, CallsHaveOpenAisForm) {
  ReplyWriter writer({.kind = CompletionKind::kChat, .stream = true}, "id", *model_);
  ChoicePiece piece{.index = 0};
  piece.calls = {{.index = 0, .id = "call_1", .name = "f", .arguments = "{"}};
  const Json begin = json(writer.chunk(piece, std::nullopt).c_str())["choices"][0]["delta"]["tool_calls"][0];
  EXPECT_EQ(begin["index"], 0);
  EXPECT_EQ(begin["id"], "call_1");
  EXPECT_EQ(begin["type"], "function");
  EXPECT_EQ(begin["function"]["name"], "f");
  piece.calls = {{.index = 0, .arguments = "}"}};
  const Json more = json(writer.chunk(piece, std::nullopt).c_str())["choices"][0]["delta"]["tool_calls"][0];
  EXPECT_EQ(more["function"], json(R"({"arguments": "}"})"));
  EXPECT_FALSE(more.contains("id"));
  piece.calls = {{.index = 0, .id = "call_1", .name = "f", .arguments = "{}"}};
  piece.has_called = true;
  piece.finish_reason = FinishReason::kStop;
  const Json whole = json(writer.whole({piece}, {}).c_str())["choices"][0];
  EXPECT_TRUE(whole["message"]["content"].is_null());
  EXPECT_EQ(whole["finish_reason"], "tool_calls");
  piece.finish_reason = FinishReason::kLength;
  EXPECT_EQ(json(writer.whole({piece}, {}).c_str())["choices"][0]["finish_reason"], "length");
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

// Most pieces are written by a shorter way: to the same bytes.
TEST_F(OpenAiTest, PlainChunksAreLikeOthers) {
  const std::string end = "\"finish_reason\":\"length\"";
  for (CompletionKind kind : {CompletionKind::kChat, CompletionKind::kText}) {
    ReplyWriter writer({.kind = kind, .stream = true, .include_usage = true}, "id", *model_);
    ChoicePiece piece{.index = 3, .text = "\"a\"\n\x01\\ 话 \xff"};
    const std::string plain = writer.chunk(piece, Usage{.prompt_tokens = 4});
    piece.finish_reason = FinishReason::kLength;
    std::string other = writer.chunk(piece, Usage{.prompt_tokens = 4});
    ASSERT_NE(other.find(end), std::string::npos) << other;
    EXPECT_EQ(plain, other.replace(other.find(end), end.size(), "\"finish_reason\":null"));
  }
}

}  // namespace
}  // namespace fathom::testing
