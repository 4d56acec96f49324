#include "server/chat/tool_use.h"

#include <gtest/gtest.h>

#include "constrain/schema_compiler.h"
#include "server/chat/chat_prompt.h"

namespace fathom {
namespace {

Json json(const char* text) { return parse_json(text, "test", {}).value(); }

ToolFormat format_of(const std::string& source) {
  const auto made = ChatTemplate::create(source, Json::object());
  EXPECT_TRUE(made.ok()) << made.status().message();
  return find_tool_format(**made);
}

ToolUse use_of(const char* body, const ToolFormat& format = {}) {
  const Json held = json(body);
  RequestFields fields(held);
  ToolUse use = read_tool_use(fields, format);
  EXPECT_FALSE(fields.error().has_value()) << fields.error()->message;
  return use;
}

constexpr const char* kPlain = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}";

TEST(ToolFormatTest, IsWhatTheTemplateDoes) {
  const ToolFormat plain = format_of(kPlain);
  EXPECT_FALSE(plain.has_calls || plain.lists_tools);

  const ToolFormat tags = format_of(
      "{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}"
      "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>"
      "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}</tool_call>{% endfor %}{% "
      "endfor %}");
  EXPECT_TRUE(tags.has_calls && tags.lists_tools && tags.arguments_are_object);
  EXPECT_EQ(tags.syntax, CallSyntax::kTags);

  const ToolFormat deep_seek = format_of(
      "{% for m in messages %}{{ m['content'] }}{% if m['tool_calls'] %}{% for c in m['tool_calls'] %}"
      "{{ '<｜tool▁call▁begin｜>' + c['type'] + '<｜tool▁sep｜>' + c['function']['name'] + '\\n```json\\n' + "
      "c['function']['arguments'] + '\\n```<｜tool▁call▁end｜>' }}{% endfor %}{% endif %}{% endfor %}");
  EXPECT_TRUE(deep_seek.has_calls);
  EXPECT_FALSE(deep_seek.lists_tools || deep_seek.arguments_are_object);
  EXPECT_EQ(deep_seek.syntax, CallSyntax::kDeepSeek);

  // A form that could not be read back is not used.
  const ToolFormat other = format_of(
      "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}[CALL {{ c.function.name }} "
      "{{ c.function.arguments }}]{% endfor %}{% endfor %}");
  EXPECT_FALSE(other.has_calls);
}

TEST(ToolUseTest, ReadsChoices) {
  EXPECT_EQ(use_of("{}").choice, ToolUse::Choice::kNone);
  const char* tool = R"("tools": [{"type": "function", "function": {"name": "f"}}])";
  const auto with = [tool](const std::string& more) {
    return use_of(("{" + std::string(tool) + more + "}").c_str());
  };
  EXPECT_EQ(with("").choice, ToolUse::Choice::kAuto);
  EXPECT_EQ(with(R"(, "tool_choice": "auto")").choice, ToolUse::Choice::kAuto);
  EXPECT_TRUE(with(R"(, "tool_choice": "none")").tools.is_null());
  EXPECT_EQ(with(R"(, "tool_choice": "required")").choice, ToolUse::Choice::kForced);
  EXPECT_EQ(with(R"(, "tool_choice": {"type": "function", "function": {"name": "f"}})").forced_name, "f");
  EXPECT_FALSE(with(R"(, "parallel_tool_calls": false)").is_parallel);
}

TEST(ToolUseTest, ForcedSchemasCompile) {
  const ToolUse use = use_of(R"({"tools": [
      {"type": "function", "function": {"name": "plain"}},
      {"type": "function", "function": {"name": "tree", "parameters": {"type": "object", "properties":
        {"default": {"$ref": "#/$defs/node"}, "$ref": {"type": "string"}}, "$defs": {"node": {"type": "object",
        "properties": {"next": {"$ref": "#/$defs/node"}}, "additionalProperties": false}}}}}],
      "tool_choice": "required"})");
  const Result<Json> schema = forced_calls_schema(use);
  ASSERT_TRUE(schema.ok());
  const Json& tree = (*schema)["items"]["anyOf"][1]["properties"]["arguments"];
  EXPECT_EQ(tree["properties"]["default"]["$ref"], "#/items/anyOf/1/properties/arguments/$defs/node");
  EXPECT_EQ(tree["properties"]["$ref"]["type"], "string");
  EXPECT_EQ(tree["$defs"]["node"]["properties"]["next"]["$ref"],
            "#/items/anyOf/1/properties/arguments/$defs/node");
  EXPECT_FALSE(schema->contains("maxItems"));
  const auto grammar = compile_schema(dump_json(*schema));
  EXPECT_TRUE(grammar.ok()) << grammar.status().message();
}

TEST(ToolUseTest, ANamedToolIsCalledOnce) {
  const ToolUse use = use_of(R"({"tools": [{"function": {"name": "f"}}, {"function": {"name": "g"}}],
      "tool_choice": {"type": "function", "function": {"name": "g"}}})");
  const Json schema = forced_calls_schema(use).value();
  ASSERT_EQ(schema["items"]["anyOf"].size(), 1u);
  EXPECT_EQ(schema["items"]["anyOf"][0]["properties"]["name"]["const"], "g");
  EXPECT_EQ(schema["maxItems"], 1);
}

TEST(ChatPromptTest, CallsAndResultsBecomeText) {
  const Json messages = json(R"([
      {"role": "system", "content": "Be brief."}, {"role": "user", "content": "weather?"},
      {"role": "assistant", "content": "", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "w", "arguments": "{\"c\":\"x\"}"}},
        {"id": "b", "type": "function", "function": {"name": "w", "arguments": "oops"}}]},
      {"role": "tool", "content": "sun", "tool_call_id": "a"}, {"role": "tool", "content": "rain", "tool_call_id": "b"},
      {"role": "user", "content": "thanks"}])");
  const ToolUse use = use_of(R"({"tools": [{"function": {"name": "w"}}]})");
  const Json plain = messages_for_template(messages, use, {});
  ASSERT_EQ(plain.size(), 5u);
  EXPECT_EQ(plain[0]["content"], "Be brief.\n\n" + tools_text(use));
  EXPECT_EQ(plain[2]["content"],
            "<tool_call>\n{\"name\": \"w\", \"arguments\": {\"c\":\"x\"}}\n</tool_call>\n"
            "<tool_call>\n{\"name\": \"w\", \"arguments\": \"oops\"}\n</tool_call>");
  EXPECT_EQ(plain[3]["role"], "user");
  EXPECT_EQ(plain[3]["content"],
            "<tool_response>\nsun\n</tool_response>\n<tool_response>\nrain\n</tool_response>");
  EXPECT_EQ(plain[4]["content"], "thanks");

  const ToolFormat own{CallSyntax::kTags, true, true, true};
  const Json kept = messages_for_template(messages, use, own);
  ASSERT_EQ(kept.size(), messages.size());
  EXPECT_EQ(kept[0]["content"], "Be brief.");
  EXPECT_EQ(kept[2]["tool_calls"][0]["function"]["arguments"]["c"], "x");
  EXPECT_EQ(kept[2]["tool_calls"][1]["function"]["arguments"], "oops");
}

TEST(ChatPromptTest, ToolsMakeASystemMessageWhereThereIsNone) {
  const ToolUse use = use_of(R"({"tools": [{"function": {"name": "w", "description": "d"}}]})");
  const Json made = messages_for_template(json(R"([{"role": "user", "content": "x"}])"), use, {});
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(made[0]["role"], "system");
  const std::string text = made[0]["content"];
  EXPECT_NE(text.find(R"({"type":"function","function":{"name":"w","description":"d"}})"), std::string::npos);
}

}  // namespace
}  // namespace fathom
