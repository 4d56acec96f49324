#include "server/openai/responses_request.h"

#include "server/json_member.h"

namespace fathom {
namespace {

using Converted = std::variant<Json, ApiError>;

// A string, or parts of text. Where it goes, they are called "text".
Converted content_of(const Json& content) {
  if (content.is_null() || content.is_string()) return content;
  if (!content.is_array())
    return bad_request("input", "an item's content must be a string or a list of parts");
  Json parts = Json::array();
  for (const Json& part : content) {
    const Json type = json_member(part, "type");
    const bool is_text = (type == "input_text" || type == "output_text" || type == "text") &&
                         json_member(part, "text").is_string();
    if (!is_text) return bad_request("input", "an item's content may have parts of text only");
    parts.push_back({{"type", "text"}, {"text", part["text"]}});
  }
  return parts;
}

Converted function_call_of(const Json& item) {
  return Json{
      {"id", json_member(item, "call_id")},
      {"type", "function"},
      {"function", {{"name", json_member(item, "name")}, {"arguments", json_member(item, "arguments")}}}};
}

// Appends one item to the messages. Calls that follow each other belong to one message.
std::optional<ApiError> add_item(const Json& item, Json& messages) {
  const Json type = item.is_object() ? item.value("type", Json("message")) : Json();
  if (type == "reasoning") return std::nullopt;
  if (type == "function_call") {
    const bool joins = !messages.empty() && messages.back()["role"] == "assistant";
    if (!joins) messages.push_back({{"role", "assistant"}, {"content", ""}});
    if (!messages.back().contains("tool_calls")) messages.back()["tool_calls"] = Json::array();
    messages.back()["tool_calls"].push_back(std::get<Json>(function_call_of(item)));
    return std::nullopt;
  }
  if (type != "message" && type != "function_call_output") {
    return bad_request(
        "input",
        "input may have items of type message, function_call, function_call_output and reasoning only");
  }
  const bool is_output = type == "function_call_output";
  auto content = content_of(json_member(item, is_output ? "output" : "content"));
  if (const auto* error = std::get_if<ApiError>(&content)) return *error;
  Json message = {{"role", is_output ? Json("tool") : json_member(item, "role")},
                  {"content", std::get<Json>(std::move(content))}};
  if (is_output) message["tool_call_id"] = json_member(item, "call_id");
  messages.push_back(std::move(message));
  return std::nullopt;
}

Converted messages_of_input(const Json& body) {
  Json messages = Json::array();
  if (const Json instructions = json_member(body, "instructions"); !instructions.is_null()) {
    if (!instructions.is_string()) return bad_request("instructions", "instructions must be a string");
    messages.push_back({{"role", "system"}, {"content", instructions}});
  }
  const Json input = json_member(body, "input");
  if (input.is_string()) {
    messages.push_back({{"role", "user"}, {"content", input}});
    return messages;
  }
  if (!input.is_array() || input.empty()) {
    return bad_request("input", "input must be a string or a list of at least one item");
  }
  for (const Json& item : input) {
    if (auto error = add_item(item, messages)) return *error;
  }
  if (messages.empty()) return bad_request("input", "input must have at least one message");
  return messages;
}

Converted tools_of(const Json& tools) {
  if (!tools.is_array()) return bad_request("tools", "tools must be a list");
  Json list = Json::array();
  for (const Json& tool : tools) {
    if (json_member(tool, "type") != "function") {
      return bad_request("tools", "tools must be of type function: nothing else is offered");
    }
    Json function = tool;
    function.erase("type");
    list.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return list;
}

// text: the format of the answer.
Converted format_of(const Json& text) {
  if (!text.is_object()) return bad_request("text", "text must be an object");
  const Json format = json_member(text, "format");
  if (json_member(format, "type") != "json_schema") return format;
  return Json{{"type", "json_schema"}, {"json_schema", {{"schema", json_member(format, "schema")}}}};
}

std::optional<ApiError> refuse_state(const Json& body) {
  for (const char* key : {"previous_response_id", "conversation", "prompt"}) {
    if (!json_member(body, key).is_null()) {
      return bad_request(key, std::string(key) + " is not supported: the server stores nothing");
    }
  }
  if (json_member(body, "background") == true)
    return bad_request("background", "background is not supported");
  const Json truncation = json_member(body, "truncation");
  if (!truncation.is_null() && truncation != "disabled") {
    return bad_request("truncation", "truncation must be disabled");
  }
  if (const Json n = json_member(body, "n"); !n.is_null() && n != 1) return bad_request("n", "n must be 1");
  return std::nullopt;
}

// include and top_logprobs.
std::optional<ApiError> add_logprobs(const Json& body, Json& chat) {
  const Json include = json_member(body, "include");
  if (!include.is_null() && !include.is_array()) return bad_request("include", "include must be a list");
  bool wanted = !json_member(body, "top_logprobs").is_null() && json_member(body, "top_logprobs") != 0;
  for (const Json& one : include.is_array() ? include : Json::array()) {
    wanted |= one == "message.output_text.logprobs";
  }
  if (wanted) chat["logprobs"] = true;
  return std::nullopt;
}

// Where a field of the chat has another name here.
std::string responses_name(const std::string& param) {
  if (param == "messages" || param == "prompt") return "input";
  if (param == "max_completion_tokens") return "max_output_tokens";
  if (param == "response_format") return "text.format";
  return param;
}

void rename_param(std::string& param, std::string& message) {
  const std::string name = responses_name(param);
  if (message.starts_with(param)) message = name + message.substr(param.size());
  param = name;
}

}  // namespace

Converted chat_body_of_responses(const Json& body) {
  if (auto error = refuse_state(body)) return *error;
  Json chat = body;  // fields of sampling and those of the server are the same
  for (const char* key :
       {"input", "instructions", "text", "reasoning", "include", "previous_response_id", "conversation",
        "prompt", "background", "truncation", "max_output_tokens", "stream_options", "max_tool_calls", "n"}) {
    chat.erase(key);
  }
  auto messages = messages_of_input(body);
  if (const auto* error = std::get_if<ApiError>(&messages)) return *error;
  chat["messages"] = std::get<Json>(std::move(messages));
  if (const Json most = json_member(body, "max_output_tokens"); !most.is_null())
    chat["max_completion_tokens"] = most;
  if (const Json tools = json_member(body, "tools"); !tools.is_null()) {
    auto converted = tools_of(tools);
    if (const auto* error = std::get_if<ApiError>(&converted)) return *error;
    chat["tools"] = std::get<Json>(std::move(converted));
  }
  if (const Json choice = json_member(body, "tool_choice"); choice.is_object()) {
    chat["tool_choice"] = {{"type", json_member(choice, "type")},
                           {"function", {{"name", json_member(choice, "name")}}}};
  }
  if (const Json text = json_member(body, "text"); !text.is_null()) {
    auto format = format_of(text);
    if (const auto* error = std::get_if<ApiError>(&format)) return *error;
    chat["response_format"] = std::get<Json>(std::move(format));
  }
  if (auto error = add_logprobs(body, chat)) return *error;
  return chat;
}

std::variant<ResponsesRequest, ApiError> parse_responses(const Json& body, const ServedModel& model,
                                                         const ServerLimits& limits) {
  const auto chat = chat_body_of_responses(body);
  if (const auto* error = std::get_if<ApiError>(&chat)) return *error;
  auto parsed = parse_completion(CompletionKind::kChat, std::get<Json>(chat), model, limits);
  if (auto* error = std::get_if<ApiError>(&parsed)) {
    rename_param(error->param, error->message);
    return *error;
  }
  ResponsesRequest request{std::get<CompletionRequest>(std::move(parsed)), Json::object()};
  if (request.completion.constraint) {
    std::string unused;
    rename_param(request.completion.constraint->param, unused);
  }
  for (const char* key : {"instructions", "max_output_tokens", "metadata", "tool_choice", "tools", "user",
                          "parallel_tool_calls", "text", "reasoning", "top_logprobs"}) {
    if (const Json value = json_member(body, key); !value.is_null()) request.echoed[key] = value;
  }
  request.echoed["temperature"] = request.completion.generation.sampling.temperature;
  request.echoed["top_p"] = request.completion.generation.sampling.top_p;
  return request;
}

}  // namespace fathom
