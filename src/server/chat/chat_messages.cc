// Messages of OpenAI's interface: roles, contents, calls.
#include "server/openai.h"

namespace fathom {
namespace {

constexpr size_t kMaxTemplateVariables = 16;
constexpr size_t kMaxMessages = 8192;
constexpr size_t kMaxCalls = 128;  // of one message

// A string, null, or a list of parts of type text.
std::variant<std::string, ApiError> content_text(const Json& message) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) return std::string();
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array())
    return bad_request("messages", "a message's content must be a string or a list of parts");
  std::string text;
  for (const Json& part : *content) {
    const bool is_text = part.is_object() && part.contains("type") && part["type"] == "text" &&
                         part.contains("text") && part["text"].is_string();
    if (!is_text) {
      return bad_request(
          "messages", "a message's content may have parts of type text only: the model takes nothing else");
    }
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

std::variant<Json, ApiError> parse_calls(const Json& calls) {
  if (!calls.is_array() || calls.size() > kMaxCalls) {
    return bad_request("messages", fmt::format("tool_calls must be a list of at most {}", kMaxCalls));
  }
  Json parsed = Json::array();
  for (const Json& call : calls) {
    const Json function = call.is_object() ? call.value("function", Json()) : Json();
    const bool is_call = function.is_object() && function.value("name", Json()).is_string() &&
                         function.value("arguments", Json("")).is_string();
    if (!is_call) {
      return bad_request("messages",
                         "each of tool_calls must have a function with name and arguments, strings");
    }
    const std::string arguments = function.value("arguments", std::string());
    parsed.push_back(
        {{"id", call.value("id", Json(""))},
         {"type", "function"},
         {"function", {{"name", function["name"]}, {"arguments", arguments.empty() ? "{}" : arguments}}}});
  }
  return parsed;
}

std::variant<Json, ApiError> parse_message(const Json& message) {
  if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
    return bad_request("messages", "each message must be an object with a role and a content");
  }
  std::string role = message["role"].get<std::string>();
  if (role == "developer") role = "system";
  if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
    return bad_request("messages", "a message's role must be system, developer, user, assistant or tool");
  }
  auto text = content_text(message);
  if (const auto* error = std::get_if<ApiError>(&text)) return *error;
  Json one = {{"role", role}, {"content", std::get<std::string>(std::move(text))}};
  for (const char* key : {"name", "tool_call_id"}) {
    if (message.contains(key) && message[key].is_string()) one[key] = message[key];
  }
  if (const auto calls = message.find("tool_calls"); calls != message.end() && !calls->empty()) {
    if (role != "assistant") return bad_request("messages", "only messages of the assistant have tool_calls");
    auto parsed = parse_calls(*calls);
    if (const auto* error = std::get_if<ApiError>(&parsed)) return *error;
    one["tool_calls"] = std::get<Json>(std::move(parsed));
  }
  return one;
}

}  // namespace

std::variant<Json, ApiError> parse_messages(const Json& body) {
  const auto messages = body.find("messages");
  if (messages == body.end() || !messages->is_array() || messages->empty()) {
    return bad_request("messages", "messages must be a list of at least one message");
  }
  if (messages->size() > kMaxMessages) {
    return bad_request("messages",
                       fmt::format("messages must be at most {}, are {}", kMaxMessages, messages->size()));
  }
  Json parsed = Json::array();
  for (const Json& message : *messages) {
    auto one = parse_message(message);
    if (const auto* error = std::get_if<ApiError>(&one)) return *error;
    parsed.push_back(std::get<Json>(std::move(one)));
  }
  return parsed;
}

std::variant<Json, ApiError> parse_template_variables(const Json& body) {
  const auto variables = body.find("chat_template_kwargs");
  if (variables == body.end() || variables->is_null()) return Json();
  const auto refuse = [](const char* why) {
    return bad_request("chat_template_kwargs", std::string("chat_template_kwargs must be ") + why);
  };
  if (!variables->is_object()) return refuse("an object");
  if (variables->size() > kMaxTemplateVariables) return refuse("at most 16 values");
  for (const auto& [key, value] : variables->items()) {
    if (value.is_structured()) return refuse("of strings, numbers, true, false and null");
  }
  return *variables;
}

}  // namespace fathom
