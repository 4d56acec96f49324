#include "server/chat/tool_use.h"

#include <algorithm>

namespace fathom {

const std::string_view kDeepSeekSeparator = "<｜tool▁sep｜>";

const CallSyntaxText& syntax_of(CallSyntax syntax) {
  static constexpr CallSyntaxText kTagsText = {"<tool_call>", "</tool_call>", "", ""};
  static constexpr CallSyntaxText kDeepSeekText = {"<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>",
                                                   "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"};
  return syntax == CallSyntax::kTags ? kTagsText : kDeepSeekText;
}

namespace {

constexpr const char* kProbeTool = "probe_tool";
constexpr const char* kProbeResult = "probe result";

Json probe_messages(bool arguments_are_object) {
  const Json arguments = arguments_are_object ? Json{{"probe", 1}} : Json(R"({"probe":1})");
  const Json call = {
      {"id", "call_0"}, {"type", "function"}, {"function", {{"name", kProbeTool}, {"arguments", arguments}}}};
  return Json::array({{{"role", "user"}, {"content", "question"}},
                      {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({call})}},
                      {{"role", "tool"}, {"content", kProbeResult}, {"tool_call_id", "call_0"}}});
}

bool holds(const Result<std::string>& text, std::string_view part) {
  return text.ok() && text->find(part) != std::string::npos;
}

bool is_name(const Json& name) {
  if (!name.is_string()) return false;
  const auto& text = name.get_ref<const std::string&>();
  return !text.empty() && text.size() <= kMaxToolNameBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                  c == '-' || c == '.';
         });
}

bool has_tool(const Json& tools, const std::string& name) {
  return std::any_of(tools.begin(), tools.end(),
                     [&name](const Json& tool) { return tool["function"]["name"] == name; });
}

Json read_tools(RequestFields& fields) {
  const Json* tools = fields.value("tools");
  if (tools == nullptr) return nullptr;
  const auto refuse = [&fields](std::string message) {
    fields.fail("tools", std::move(message));
    return Json();
  };
  if (!tools->is_array()) return refuse("must be a list");
  if (tools->size() > kMaxTools) {
    return refuse(fmt::format("must be at most {}, are {}", kMaxTools, tools->size()));
  }
  Json list = Json::array();
  for (const Json& tool : *tools) {
    if (!tool.is_object() || tool.value("type", Json("function")) != "function") {
      return refuse("must be of type function: nothing else is offered");
    }
    const auto function = tool.find("function");
    if (function == tool.end() || !function->is_object() || !is_name(function->value("name", Json()))) {
      return refuse(fmt::format(
          "must each have a function with a name of 1 to {} letters, digits, dots, dashes and underscores",
          kMaxToolNameBytes));
    }
    const Json parameters = function->value("parameters", Json());
    if (!parameters.is_null() && !parameters.is_object())
      return refuse("must have JSON schemas as parameters");
    const std::string name = (*function)["name"];
    if (has_tool(list, name))
      return refuse(fmt::format("must have different names, \"{}\" is there twice", name));
    Json kept = {{"name", name}};
    if (function->contains("description")) kept["description"] = (*function)["description"];
    if (!parameters.is_null()) kept["parameters"] = parameters;
    list.push_back({{"type", "function"}, {"function", std::move(kept)}});
  }
  return list.empty() ? Json() : list;
}

void read_choice(RequestFields& fields, ToolUse& use) {
  const Json* choice = fields.value("tool_choice");
  const bool has_tools = !use.tools.is_null();
  if (choice == nullptr || *choice == "auto") {
    use.choice = has_tools ? ToolUse::Choice::kAuto : ToolUse::Choice::kNone;
    return;
  }
  if (*choice == "none") return;
  if (!has_tools) return fields.fail("tool_choice", "needs tools");
  use.choice = ToolUse::Choice::kForced;
  if (*choice == "required") return;
  const bool is_named = choice->is_object() && choice->value("type", Json()) == "function" &&
                        choice->contains("function") && (*choice)["function"].is_object() &&
                        (*choice)["function"].value("name", Json()).is_string();
  if (!is_named) return fields.fail("tool_choice", "must be none, auto, required or the function to call");
  use.forced_name = (*choice)["function"]["name"];
  if (!has_tool(use.tools, use.forced_name))
    fields.fail("tool_choice", "names a function that is not in tools");
}

// A schema's references, once it has become a part of another one at `place`. Precondition: depth of the
// schema is bounded by the parser.
void move_references(Json& schema, const std::string& place) {
  if (schema.is_array()) {
    for (Json& one : schema) move_references(one, place);
  }
  if (!schema.is_object()) return;
  for (auto& [key, value] : schema.items()) {
    if (key == "$ref" && value.is_string() && value.get_ref<const std::string&>().starts_with("#")) {
      value = "#" + place + value.get<std::string>().substr(1);
    } else if (key == "properties" || key == "$defs" || key == "definitions") {
      // Names of the user's, not keywords.
      if (value.is_object()) {
        for (auto& [name, one] : value.items()) move_references(one, place);
      }
    } else if (key != "const" && key != "enum" && key != "default" && key != "examples") {
      move_references(value, place);
    }
  }
}

}  // namespace

ToolFormat find_tool_format(const ChatTemplate& chat_template) {
  ToolFormat format;
  Result<std::string> calls("");
  for (const bool as_object : {false, true}) {
    calls = chat_template.render(probe_messages(as_object));
    if (!holds(calls, kProbeTool) || !holds(calls, kProbeResult) || !holds(calls, "\"probe\"")) continue;
    format.has_calls = true;
    format.arguments_are_object = as_object;
    break;
  }
  if (!format.has_calls) return format;
  if (holds(calls, syntax_of(CallSyntax::kDeepSeek).open)) {
    format.syntax = CallSyntax::kDeepSeek;
  } else if (!holds(calls, syntax_of(CallSyntax::kTags).open)) {
    return {};  // calls in a form that could not be read back
  }
  ChatTemplateOptions options;
  options.tools = Json::array({{{"type", "function"}, {"function", {{"name", kProbeTool}}}}});
  options.tools[0]["function"].update({{"description", "probe"}, {"parameters", {{"type", "object"}}}});
  format.lists_tools = holds(
      chat_template.render(Json::array({{{"role", "user"}, {"content", "question"}}}), options), kProbeTool);
  return format;
}

ToolUse read_tool_use(RequestFields& fields, const ToolFormat& format) {
  ToolUse use;
  use.syntax = format.syntax;
  use.tools = read_tools(fields);
  use.is_parallel = fields.boolean("parallel_tool_calls").value_or(true);
  if (fields.error()) return {};
  read_choice(fields, use);
  if (use.choice == ToolUse::Choice::kNone) use.tools = nullptr;
  return use;
}

Result<Json> forced_calls_schema(const ToolUse& use) {
  Json calls = Json::array();
  for (const Json& tool : use.tools) {
    const Json& function = tool["function"];
    const std::string name = function["name"];
    if (!use.forced_name.empty() && name != use.forced_name) continue;
    Json parameters = function.value("parameters", Json{{"type", "object"}, {"additionalProperties", false}});
    if (!parameters.contains("type") && !parameters.contains("$ref")) parameters["type"] = "object";
    if (parameters.contains("type") && parameters["type"] != "object") {
      return invalid_argument("need parameters of type object, which those of \"{}\" are not", name);
    }
    move_references(parameters, fmt::format("/items/anyOf/{}/properties/arguments", calls.size()));
    calls.push_back({{"type", "object"},
                     {"properties", {{"name", {{"const", name}}}, {"arguments", std::move(parameters)}}},
                     {"required", {"name", "arguments"}},
                     {"additionalProperties", false}});
  }
  Json schema = {{"type", "array"}, {"minItems", 1}, {"items", {{"anyOf", std::move(calls)}}}};
  if (!use.is_parallel || !use.forced_name.empty()) schema["maxItems"] = 1;
  return schema;
}

}  // namespace fathom
