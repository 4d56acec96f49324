#include "server/openai/responses_reply.h"
#include "server/openai/responses_request.h"
#include "support/served_model.h"

namespace fathom::testing {
namespace {

class ResponsesTest : public DemoModelTest {
 protected:
  static Json chat_body(const char* body) {
    auto converted = chat_body_of_responses(json(body));
    if (const auto* error = std::get_if<ApiError>(&converted)) ADD_FAILURE() << error->message;
    return std::get<Json>(converted);
  }
  static ApiError error_of(const char* body) {
    const auto parsed = parse_responses(json(body), *model_, {});
    if (const auto* error = std::get_if<ApiError>(&parsed)) return *error;
    ADD_FAILURE() << "no error: " << body;
    return {};
  }
  // The "type" of each event, which must be that of its data, numbered from 0.
  static std::vector<Json> events_of(const std::string& stream) {
    std::vector<Json> events;
    for (size_t at = 0; at < stream.size();) {
      const size_t line = stream.find('\n', at), end = stream.find("\n\n", at);
      const std::string name = stream.substr(at + 7, line - at - 7);
      events.push_back(json(stream.substr(line + 7, end - line - 7).c_str()));
      EXPECT_EQ(events.back()["type"], name);
      EXPECT_EQ(events.back()["sequence_number"], events.size() - 1);
      at = end + 2;
    }
    return events;
  }
};

TEST_F(ResponsesTest, InputBecomesMessages) {
  const Json chat =
      chat_body(R"({"instructions": "Be brief.", "max_output_tokens": 7, "temperature": 0.5, "top_k": 3,
      "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}, {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "d", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"}],
      "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true}],
      "tool_choice": {"type": "function", "name": "f"},
      "text": {"format": {"type": "text"}}})");
  EXPECT_EQ(chat["messages"][0], json(R"({"role": "system", "content": "Be brief."})"));
  EXPECT_EQ(chat["messages"][1]["content"][0]["text"], "a");
  ASSERT_EQ(chat["messages"].size(), 4u);
  EXPECT_EQ(chat["messages"][2]["tool_calls"].size(), 2u);
  EXPECT_EQ(chat["messages"][2]["tool_calls"][1]["function"]["name"], "g");
  EXPECT_EQ(chat["messages"][3], json(R"({"role": "tool", "content": "1", "tool_call_id": "c"})"));
  EXPECT_EQ(chat["tools"][0]["function"]["name"], "f");
  EXPECT_EQ(chat["tool_choice"]["function"]["name"], "f");
  EXPECT_EQ(chat["max_completion_tokens"], 7);
  EXPECT_EQ(chat["top_k"], 3);
  EXPECT_FALSE(chat.contains("input") || chat.contains("text"));
  const auto parsed =
      parse_responses(json(R"({"model": "demo", "input": "x", "text": {"format": {"type": "json_schema",
      "name": "n", "schema": {"type": "null"}}}})"),
                      *model_, {});
  ASSERT_TRUE(std::holds_alternative<ResponsesRequest>(parsed));
  const CompletionRequest& request = std::get<ResponsesRequest>(parsed).completion;
  ASSERT_TRUE(request.constraint.has_value());
  EXPECT_EQ(request.constraint->param, "text.format");
  EXPECT_TRUE(request.unknown.empty()) << request.unknown[0];
}

TEST_F(ResponsesTest, ErrorsNameItsOwnFields) {
  EXPECT_EQ(error_of(R"({})").param, "input");
  EXPECT_EQ(error_of(R"({"input": [{"type": "image"}]})").param, "input");
  EXPECT_EQ(error_of(R"({"input": "x", "previous_response_id": "r"})").param, "previous_response_id");
  EXPECT_EQ(error_of(R"({"input": "x", "background": true})").param, "background");
  EXPECT_EQ(error_of(R"({"input": "x", "n": 2})").param, "n");
  EXPECT_EQ(error_of(R"({"input": "x", "tools": [{"type": "web_search"}]})").param, "tools");
  const ApiError tokens = error_of(R"({"input": "x", "max_output_tokens": 0})");
  EXPECT_EQ(tokens.param, "max_output_tokens");
  EXPECT_TRUE(tokens.message.starts_with("max_output_tokens ")) << tokens.message;
  EXPECT_EQ(error_of(R"({"input": "x", "text": {"format": {"type": "xml"}}})").param, "text.format");
}

TEST_F(ResponsesTest, EventsTellTheWholeResponse) {
  ResponsesWriter writer("id", *model_, Json{{"temperature", 0.5}});
  AnswerItem text{.is_call = false, .text = "ab", .name = ""};
  AnswerItem call{.is_call = true, .text = "{}", .name = "f"};
  const AnswerEnd end{
      FinishReason::kStop, nullptr, {.prompt_tokens = 3, .completion_tokens = 4, .cached_tokens = 1}};
  std::string stream = writer.begin({});
  stream += writer.piece(0, {.is_call = false, .text = "a", .name = ""}, true);
  stream += writer.piece(0, {.is_call = false, .text = "b", .name = ""}, false);
  stream += writer.item_end(0, text);
  stream += writer.piece(1, {.is_call = true, .text = "", .name = "f"}, true);
  stream += writer.piece(1, {.is_call = true, .text = "{}", .name = ""}, false);
  stream += writer.item_end(1, call);
  stream += writer.end({text, call}, end);
  const std::vector<Json> events = events_of(stream);
  std::vector<std::string> types;
  for (const Json& event : events) types.push_back(event["type"]);
  EXPECT_EQ(types,
            (std::vector<std::string>{
                "response.created", "response.in_progress", "response.output_item.added",
                "response.content_part.added", "response.output_text.delta", "response.output_text.delta",
                "response.output_text.done", "response.content_part.done", "response.output_item.done",
                "response.output_item.added", "response.function_call_arguments.delta",
                "response.function_call_arguments.done", "response.output_item.done", "response.completed"}));
  const Json response = events.back()["response"];
  EXPECT_EQ(response["status"], "completed");
  EXPECT_EQ(response["temperature"], 0.5);
  EXPECT_EQ(response["output"][0]["content"][0]["text"], "ab");
  EXPECT_EQ(response["output"][0]["id"], events[2]["item"]["id"]);
  EXPECT_EQ(response["output"][1]["arguments"], "{}");
  EXPECT_EQ(response["usage"]["total_tokens"], 7);
  EXPECT_EQ(response["usage"]["input_tokens_details"]["cached_tokens"], 1);
}

TEST_F(ResponsesTest, AnAnswerCutByTheLimitIsIncomplete) {
  ResponsesWriter writer("id", *model_, Json::object());
  const Json response =
      writer.whole({{.is_call = false, .text = "ab", .name = ""}}, {FinishReason::kLength, nullptr, {}});
  EXPECT_EQ(response["status"], "incomplete");
  EXPECT_EQ(response["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(response["output"][0]["status"], "incomplete");
}

}  // namespace
}  // namespace fathom::testing
