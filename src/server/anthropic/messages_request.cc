#include "server/anthropic/messages_request.h"

#include "server/json_member.h"

namespace fathom {
namespace {

using Converted = std::variant<Json, ApiError>;

// A string, or blocks of text, as one string.
std::variant<std::string, ApiError> text_of(const Json& content, const char* param) {
  if (content.is_null()) return std::string();
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    return bad_request(param, std::string(param) + " must hold strings or lists of content blocks");
  }
  std::string text;
  for (const Json& block : content) {
    if (json_member(block, "type") != "text" || !json_member(block, "text").is_string()) {
      return bad_request(param,
                         std::string(param) + " may hold blocks of text only: the model takes nothing else");
    }
    text += block["text"].get_ref<const std::string&>();
  }
  return text;
}

Json call_of(const Json& block) {
  const Json input = json_member(block, "input");
  return {{"id", json_member(block, "id")},
          {"type", "function"},
          {"function",
           {{"name", json_member(block, "name")},
            {"arguments", dump_json(input.is_null() ? Json::object() : input)}}}};
}

// One message may become several: each result of a tool is a message of its own.
std::optional<ApiError> add_blocks(const Json& role, const Json& blocks, Json& messages) {
  Json rest = Json::array(), calls = Json::array();
  for (const Json& block : blocks) {
    const Json type = json_member(block, "type");
    if (type == "thinking" || type == "redacted_thinking") continue;
    if (type == "tool_use" && role == "assistant") {
      calls.push_back(call_of(block));
    } else if (type == "tool_result" && role == "user") {
      auto text = text_of(json_member(block, "content"), "messages");
      if (const auto* error = std::get_if<ApiError>(&text)) return *error;
      messages.push_back({{"role", "tool"},
                          {"content", std::get<std::string>(std::move(text))},
                          {"tool_call_id", json_member(block, "tool_use_id")}});
    } else {
      rest.push_back(block);
    }
  }
  if (rest.empty() && calls.empty()) return std::nullopt;
  auto text = text_of(rest, "messages");
  if (const auto* error = std::get_if<ApiError>(&text)) return *error;
  Json message = {{"role", role}, {"content", std::get<std::string>(std::move(text))}};
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  messages.push_back(std::move(message));
  return std::nullopt;
}

Converted messages_of(const Json& body) {
  Json messages = Json::array();
  auto system = text_of(json_member(body, "system"), "system");
  if (const auto* error = std::get_if<ApiError>(&system)) return *error;
  if (auto& text = std::get<std::string>(system); !text.empty()) {
    messages.push_back({{"role", "system"}, {"content", std::move(text)}});
  }
  const Json given = json_member(body, "messages");
  if (!given.is_array() || given.empty()) {
    return bad_request("messages", "messages must be a list of at least one message");
  }
  for (const Json& message : given) {
    const Json role = json_member(message, "role");
    if (role != "user" && role != "assistant" && role != "system") {
      return bad_request("messages", "a message's role must be user or assistant");
    }
    const Json content = json_member(message, "content");
    if (!content.is_array()) {
      if (!content.is_string())
        return bad_request("messages", "a message's content must be a string or a list");
      messages.push_back({{"role", role}, {"content", content}});
    } else if (auto error = add_blocks(role, content, messages)) {
      return *error;
    }
  }
  if (messages.empty()) return bad_request("messages", "messages must hold some text");
  return messages;
}

std::optional<ApiError> add_tools(const Json& body, Json& chat) {
  const Json tools = json_member(body, "tools");
  if (tools.is_null()) return std::nullopt;
  if (!tools.is_array()) return bad_request("tools", "tools must be a list");
  chat["tools"] = Json::array();
  for (const Json& tool : tools) {
    const Json type = json_member(tool, "type");
    if (!type.is_null() && type != "custom") {
      return bad_request("tools", "tools must be the client's own (type custom): nothing else is offered");
    }
    Json function = {{"name", json_member(tool, "name")}, {"parameters", json_member(tool, "input_schema")}};
    if (tool.is_object() && tool.contains("description")) function["description"] = tool["description"];
    chat["tools"].push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  const Json choice = json_member(body, "tool_choice");
  const Json type = json_member(choice, "type");
  if (json_member(choice, "disable_parallel_tool_use") == true) chat["parallel_tool_calls"] = false;
  if (choice.is_null() || type == "auto") return std::nullopt;
  if (type == "none") {
    chat["tool_choice"] = "none";
  } else if (type == "any") {
    chat["tool_choice"] = "required";
  } else if (type == "tool") {
    chat["tool_choice"] = {{"type", "function"}, {"function", {{"name", json_member(choice, "name")}}}};
  } else {
    return bad_request("tool_choice", "tool_choice must have a type: auto, any, tool or none");
  }
  return std::nullopt;
}

std::optional<ApiError> add_format(const Json& body, Json& chat) {
  Json format = json_member(body, "output_format");
  if (format.is_null()) format = json_member(json_member(body, "output_config"), "format");
  if (format.is_null()) return std::nullopt;
  if (json_member(format, "type") != "json_schema") {
    return bad_request("output_format", "output_format must be of type json_schema");
  }
  chat["response_format"] = {{"type", "json_schema"},
                             {"json_schema", {{"schema", json_member(format, "schema")}}}};
  return std::nullopt;
}

// Where a field of the chat has another name here.
std::string messages_name(const std::string& param) {
  if (param == "stop") return "stop_sequences";
  if (param == "response_format") return "output_format";
  if (param == "prompt") return "messages";
  return param;
}

}  // namespace

Converted chat_body_of_messages(const Json& body, MessagesPurpose purpose) {
  Json chat = body;  // fields of sampling are the same
  for (const char* key : {"system", "messages", "tools", "tool_choice", "stop_sequences", "thinking", "n",
                          "metadata", "output_format", "output_config", "mcp_servers", "container",
                          "context_management", "cache_control", "inference_geo"}) {
    chat.erase(key);
  }
  if (purpose == MessagesPurpose::kAnswer && json_member(body, "max_tokens").is_null()) {
    return bad_request("max_tokens", "max_tokens is missing");
  }
  for (const char* key : {"mcp_servers", "container"}) {
    const Json value = json_member(body, key);
    if (!value.is_null() && !value.empty()) return bad_request(key, std::string(key) + " is not supported");
  }
  if (json_member(json_member(body, "thinking"), "type") == "enabled") {
    return bad_request("thinking", "thinking is not supported: the model does not do it");
  }
  auto messages = messages_of(body);
  if (const auto* error = std::get_if<ApiError>(&messages)) return *error;
  chat["messages"] = std::get<Json>(std::move(messages));
  // A last message of the assistant is the beginning of the answer.
  const Json& last = chat["messages"].back();
  if (last["role"] == "assistant" && !last.contains("tool_calls")) {
    chat["continue_final_message"] = true;
    chat["add_generation_prompt"] = false;
  }
  if (const Json stop = json_member(body, "stop_sequences"); !stop.is_null()) chat["stop"] = stop;
  if (auto error = add_tools(body, chat)) return *error;
  if (auto error = add_format(body, chat)) return *error;
  return chat;
}

std::variant<CompletionRequest, ApiError> parse_anthropic_messages(const Json& body, MessagesPurpose purpose,
                                                                   const ServedModel& model,
                                                                   const ServerLimits& limits) {
  const auto chat = chat_body_of_messages(body, purpose);
  if (const auto* error = std::get_if<ApiError>(&chat)) return *error;
  auto parsed = parse_completion(CompletionKind::kChat, std::get<Json>(chat), model, limits);
  if (auto* error = std::get_if<ApiError>(&parsed)) {
    const std::string name = messages_name(error->param);
    if (error->message.starts_with(error->param)) error->message.replace(0, error->param.size(), name);
    error->param = name;
    return *error;
  }
  auto& request = std::get<CompletionRequest>(parsed);
  if (request.constraint) request.constraint->param = messages_name(request.constraint->param);
  return parsed;
}

}  // namespace fathom
