#include "server/chat/chat_prompt.h"

#include "server/openai.h"

namespace fathom {
namespace {

std::string list_in_tags(const Json& tools) {
  std::string text = "<tools>\n";
  for (const Json& tool : tools) text += dump_json(tool) + "\n";
  return text + "</tools>\n";
}

// As the card of DeepSeek-V2.5 shows it.
std::string list_of_deep_seek(const Json& tools) {
  std::string text = "### Function\n\nYou have the following functions available:\n\n";
  for (const Json& tool : tools) {
    const Json& function = tool["function"];
    text +=
        "- `" + function["name"].get<std::string>() + "`:\n```json\n" + dump_json(function, 4) + "\n```\n";
  }
  return text;
}

std::string how_to_call(const ToolUse& use) {
  if (use.choice == ToolUse::Choice::kForced) {
    const std::string which =
        use.forced_name.empty() ? "one or more of the functions" : "the function " + use.forced_name;
    return "Call " + which +
           ". Answer with nothing but a JSON array of the calls:\n"
           "[{\"name\": \"function name\", \"arguments\": {\"argument\": \"value\"}}]";
  }
  if (use.syntax == CallSyntax::kDeepSeek) return "Call a function where it helps with the request.";
  return "Where a function helps with the request, call it: write its name and arguments as JSON between "
         "tags, for each call anew.\n<tool_call>\n"
         "{\"name\": \"function name\", \"arguments\": {\"argument\": \"value\"}}\n</tool_call>";
}

std::string call_text(const Json& call) {
  const Json& function = call["function"];
  const std::string& arguments = function["arguments"].get_ref<const std::string&>();
  const bool is_json = parse_json(arguments, "arguments", {.max_bytes = SIZE_MAX}).ok();
  return "<tool_call>\n{\"name\": " + dump_json(function["name"]) +
         ", \"arguments\": " + (is_json ? arguments : dump_json(Json(arguments))) + "}\n</tool_call>";
}

// Arguments that are no JSON object stay a string.
void arguments_to_objects(Json& message) {
  for (Json& call : message["tool_calls"]) {
    Json& arguments = call["function"]["arguments"];
    auto parsed = parse_json(arguments.get_ref<const std::string&>(), "arguments", {.max_bytes = SIZE_MAX});
    if (parsed.ok() && parsed->is_object()) arguments = std::move(parsed).value();
  }
}

void add_plain(const Json& message, bool follows_result, Json& out) {
  std::string content = message["content"];
  if (message["role"] == "tool") {
    content = "<tool_response>\n" + content + "\n</tool_response>";
    if (follows_result) {
      std::string& before = out.back()["content"].get_ref<std::string&>();
      before += "\n" + content;
      return;
    }
    out.push_back({{"role", "user"}, {"content", std::move(content)}});
    return;
  }
  Json plain = message;
  if (const auto calls = message.find("tool_calls"); calls != message.end()) {
    for (const Json& call : *calls) content += (content.empty() ? "" : "\n") + call_text(call);
    plain.erase("tool_calls");
    plain["content"] = std::move(content);
  }
  out.push_back(std::move(plain));
}

}  // namespace

std::string tools_text(const ToolUse& use) {
  return "## Tools\n\n" +
         (use.syntax == CallSyntax::kDeepSeek ? list_of_deep_seek(use.tools) : list_in_tags(use.tools)) +
         "\n" + how_to_call(use);
}

Json messages_for_template(const Json& messages, const ToolUse& use, const ToolFormat& format) {
  Json out = Json::array();
  bool follows_result = false;
  for (const Json& message : messages) {
    if (format.has_calls) {
      out.push_back(message);
      if (format.arguments_are_object && message.contains("tool_calls")) arguments_to_objects(out.back());
    } else {
      add_plain(message, follows_result, out);
    }
    follows_result = message["role"] == "tool";
  }
  if (use.tools.is_null() || format.lists_tools) return out;
  if (!out.empty() && out[0]["role"] == "system") {
    std::string& content = out[0]["content"].get_ref<std::string&>();
    content += (content.empty() ? "" : "\n\n") + tools_text(use);
  } else {
    const Json system = {{"role", "system"}, {"content", tools_text(use)}};
    out.insert(out.begin(), system);
  }
  return out;
}

std::variant<ServedModel::Rendered, ApiError> render_chat(const Json& body, RequestFields& fields,
                                                          const ToolUse& use, const ServedModel& model) {
  fields.ignore("messages");
  fields.ignore("chat_template_kwargs");
  ChatRendering rendering;
  const auto opens = fields.boolean("add_generation_prompt");
  const bool goes_on = fields.boolean("continue_final_message").value_or(false);
  if (goes_on && opens.value_or(false)) {
    fields.fail("continue_final_message", "cannot be together with add_generation_prompt");
  }
  if (fields.error()) return *fields.error();
  const auto messages = parse_messages(body);
  if (const auto* error = std::get_if<ApiError>(&messages)) return *error;
  auto variables = parse_template_variables(body);
  if (const auto* error = std::get_if<ApiError>(&variables)) return *error;
  if (goes_on && std::get<Json>(messages).back()["role"] != "assistant") {
    return bad_request("continue_final_message",
                       "continue_final_message needs a last message of the assistant");
  }
  rendering.ending = goes_on                ? ChatEnding::kContinueLast
                     : opens.value_or(true) ? ChatEnding::kOpenAnswer
                                            : ChatEnding::kNone;
  rendering.variables = std::get<Json>(std::move(variables));
  if (model.tool_format().lists_tools) rendering.tools = use.tools;
  return model.render(messages_for_template(std::get<Json>(messages), use, model.tool_format()), rendering);
}

}  // namespace fathom
