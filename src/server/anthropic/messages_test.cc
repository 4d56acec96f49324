#include "server/anthropic/messages_reply.h"
#include "server/anthropic/messages_request.h"
#include "support/served_model.h"

namespace fathom::testing {
namespace {

class MessagesTest : public DemoModelTest {
 protected:
  static Json chat_body(const char* body) {
    auto converted = chat_body_of_messages(json(body), MessagesPurpose::kAnswer);
    if (const auto* error = std::get_if<ApiError>(&converted)) ADD_FAILURE() << error->message;
    return std::get<Json>(converted);
  }
  static ApiError error_of(const char* body) {
    const auto parsed = parse_anthropic_messages(json(body), MessagesPurpose::kAnswer, *model_, {});
    if (const auto* error = std::get_if<ApiError>(&parsed)) return *error;
    ADD_FAILURE() << "no error: " << body;
    return {};
  }
};

TEST_F(MessagesTest, BlocksBecomeMessages) {
  const Json chat = chat_body(R"({"max_tokens": 5, "system": [{"type": "text", "text": "Be brief."}],
      "stop_sequences": ["x"], "messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "b"},
          {"type": "tool_use", "id": "i", "name": "f", "input": {"c": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text",
          "text": "r"}]}, {"type": "text", "text": "d"}]}],
      "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any",
      "disable_parallel_tool_use": true}})");
  EXPECT_EQ(chat["messages"],
            json(R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"},
      {"role": "assistant", "content": "b", "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f",
        "arguments": "{\"c\":1}"}}]},
      {"role": "tool", "content": "r", "tool_call_id": "i"}, {"role": "user", "content": "d"}])"));
  EXPECT_EQ(chat["tools"][0]["function"]["name"], "f");
  EXPECT_EQ(chat["tool_choice"], "required");
  EXPECT_EQ(chat["parallel_tool_calls"], false);
  EXPECT_EQ(chat["stop"], Json::array({"x"}));
  EXPECT_FALSE(chat.contains("system") || chat.contains("stop_sequences") ||
               chat.contains("continue_final_message"));
}

TEST_F(MessagesTest, ALastMessageOfTheAssistantIsGoneOnWith) {
  const auto parsed = parse_anthropic_messages(
      json(R"({"model": "demo", "max_tokens": 5, "messages": [{"role": "user", "content": "a"},
              {"role": "assistant", "content": "The"}]})"),
      MessagesPurpose::kAnswer, *model_, {});
  ASSERT_TRUE(std::holds_alternative<CompletionRequest>(parsed));
  const auto& ids = std::get<CompletionRequest>(parsed).generation.prompts.at(0);
  EXPECT_TRUE(model_->tokenizer()->decode(ids).ends_with("Assistant: The"));
  EXPECT_TRUE(std::get<CompletionRequest>(parsed).unknown.empty());
}

TEST_F(MessagesTest, ErrorsNameItsOwnFields) {
  EXPECT_EQ(error_of(R"({"messages": [{"role": "user", "content": "a"}]})").param, "max_tokens");
  EXPECT_EQ(error_of(R"({"max_tokens": 5, "messages": []})").param, "messages");
  EXPECT_EQ(
      error_of(R"({"max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "image"}]}]})").param,
      "messages");
  const ApiError stop =
      error_of(R"({"max_tokens": 5, "messages": [{"role": "user", "content": "a"}], "stop_sequences": 5})");
  EXPECT_EQ(stop.param, "stop_sequences");
  EXPECT_TRUE(stop.message.starts_with("stop_sequences ")) << stop.message;
  EXPECT_EQ(error_of(R"({"max_tokens": 5, "messages": [{"role": "user", "content": "a"}],
                        "thinking": {"type": "enabled", "budget_tokens": 9}})")
                .param,
            "thinking");
  const HttpReply reply = anthropic_error_reply(bad_request("p", "m"), "id");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(
      json(reply.body.c_str()),
      json(R"({"type": "error", "error": {"type": "invalid_request_error", "message": "m", "param": "p"},
                    "request_id": "id"})"));
}

TEST_F(MessagesTest, EventsHaveAnthropicsForm) {
  MessagesWriter writer("id", *model_);
  const AnswerItem call{.is_call = true, .text = R"({"a":1})", .name = "f"};
  const AnswerEnd end{
      FinishReason::kStop, nullptr, {.prompt_tokens = 5, .completion_tokens = 2, .cached_tokens = 3}};
  const std::string stream = writer.begin({.prompt_tokens = 5}) +
                             writer.piece(0, {.is_call = true, .text = "", .name = "f"}, true) +
                             writer.piece(0, {.is_call = true, .text = R"({"a":1})", .name = ""}, false) +
                             writer.item_end(0, call) + writer.end({call}, end);
  const std::vector<std::string> kOrder = {
      "message_start",      "ping",          "content_block_start", "content_block_delta",
      "content_block_stop", "message_delta", "message_stop"};
  size_t at = 0;
  for (const std::string& name : kOrder) {
    const std::string begin = "event: " + name + "\ndata: {\"type\":\"" + name + "\"";
    at = stream.find(begin, at);
    ASSERT_NE(at, std::string::npos) << name << " in " << stream;
    at += begin.size();
  }
  EXPECT_NE(stream.find(R"("delta":{"stop_reason":"tool_use","stop_sequence":null})"), std::string::npos);
  const Json whole = writer.whole({call}, end);
  EXPECT_EQ(whole["content"][0]["input"]["a"], 1);
  EXPECT_EQ(whole["usage"]["input_tokens"], 2);
  EXPECT_EQ(whole["usage"]["cache_read_input_tokens"], 3);
}

TEST_F(MessagesTest, StopReasons) {
  MessagesWriter writer("id", *model_);
  const AnswerItem text{.is_call = false, .text = "a", .name = ""};
  EXPECT_EQ(writer.whole({text}, {FinishReason::kStop, nullptr, {}})["stop_reason"], "end_turn");
  EXPECT_EQ(writer.whole({text}, {FinishReason::kLength, nullptr, {}})["stop_reason"], "max_tokens");
  const Json stopped = writer.whole({text}, {FinishReason::kStop, "x", {}});
  EXPECT_EQ(stopped["stop_reason"], "stop_sequence");
  EXPECT_EQ(stopped["stop_sequence"], "x");
}

}  // namespace
}  // namespace fathom::testing
