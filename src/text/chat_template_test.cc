#include "text/chat_template.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace fathom {
namespace {

const Json kMessages = {{{"role", "user"}, {"content", "Hi"}}};

std::string rendered(const Result<std::unique_ptr<ChatTemplate>>& chat_template,
                     const ChatTemplateOptions& options = {}, const Json& messages = kMessages) {
  if (!chat_template.ok()) return "load: " + chat_template.status().message();
  const auto text = (*chat_template)->render(messages, options);
  return text.ok() ? *text : "render: " + text.status().message();
}

TEST(ChatTemplate, PassesWhatHuggingFacePasses) {
  const std::string source =
      "{{ bos_token }}{{ messages[0].role }}:{{ messages[0].content }}{{ eos_token }}|{{ tools }}|{{ "
      "documents }}|"
      "{{ add_generation_prompt }}|{{ unk_token is defined }}";
  const Json tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  EXPECT_EQ(rendered(ChatTemplate::create(source, tokens)), "<s>user:Hi</s>|None|None|True|False");
  ChatTemplateOptions options;
  options.generation_prompt = GenerationPrompt::kOmit;
  options.tools = Json::array({"t"});
  EXPECT_EQ(rendered(ChatTemplate::create(source, tokens), options), "<s>user:Hi</s>|['t']|None|False|False");
}

TEST(ChatTemplate, MoreVariablesCannotReplaceTheOthers) {
  ChatTemplateOptions options;
  options.variables = {{"thinking", true}};
  EXPECT_EQ(rendered(ChatTemplate::create("{{ thinking }}", {}), options), "True");
  options.variables = {{"messages", 1}};
  EXPECT_EQ(rendered(ChatTemplate::create("x", Json::object()), options),
            "render: the template's variable \"messages\" cannot be replaced");
}

TEST(ChatTemplate, RefusesWhatAreNoMessages) {
  const auto chat_template = ChatTemplate::create("x", Json::object());
  EXPECT_EQ(rendered(chat_template, {}, 5), "render: messages: not a list");
  EXPECT_EQ(rendered(chat_template, {}, Json::array({1})), "render: messages[0]: not an object");
  EXPECT_EQ(rendered(chat_template, {}, Json::array({Json::object()})), "render: messages[0]: no role");
  EXPECT_EQ(rendered(ChatTemplate::create("{{ raise_exception('no') }}", Json::object())),
            "render: chat template: line 1: no");
}

TEST(ChatTemplate, LoadsFromEitherFile) {
  const testing::TempDir folder;
  EXPECT_EQ(rendered(ChatTemplate::load(folder.path())),
            "load: " + folder.file("tokenizer_config.json") + ": no such file");
  folder.write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}})");
  const auto none = ChatTemplate::load(folder.path());
  EXPECT_EQ(none.status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(none.status().message(), folder.file("tokenizer_config.json") +
                                         ": the model has no chat template (neither chat_template here nor a "
                                         "chat_template.jinja)");
  folder.write("tokenizer_config.json",
               R"({"bos_token": {"content": "<s>"}, "chat_template": "A{{ bos_token }}"})");
  EXPECT_EQ(rendered(ChatTemplate::load(folder.path())), "A<s>");
  folder.write("chat_template.jinja", "B{{ bos_token }}");
  EXPECT_EQ(rendered(ChatTemplate::load(folder.path())), "B<s>");
  folder.write("chat_template.jinja", "{{");
  EXPECT_EQ(rendered(ChatTemplate::load(folder.path())),
            "load: " + folder.file("chat_template.jinja") + ": chat template: line 1: a tag without an end");
}

TEST(ChatTemplate, NamedTemplates) {
  const testing::TempDir folder;
  folder.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]})");
  const auto chat_template = ChatTemplate::load(folder.path());
  EXPECT_EQ(rendered(chat_template), "D");
  ChatTemplateOptions options;
  options.tools = Json::array();
  EXPECT_EQ(rendered(chat_template, options), "T");
  options.name = "default";
  EXPECT_EQ(rendered(chat_template, options), "D");
  options.name = "rag";
  EXPECT_EQ(rendered(chat_template, options), "render: the model has no chat template named \"rag\"");
  for (const auto& [content, error] : std::vector<std::pair<std::string, std::string>>{
           {"5", "chat_template: neither a text nor a list of 1 to 64 templates"},
           {"[]", "chat_template: neither a text nor a list of 1 to 64 templates"},
           {"[{\"name\": 1}]", "chat_template[0]: name: not a string"},
           {"[{\"name\": \"a\"}]", "chat_template[0]: template: missing"},
           {"\"{{\"", "chat_template: line 1: a tag without an end"}}) {
    folder.write("tokenizer_config.json", "{\"chat_template\": " + content + "}");
    EXPECT_EQ(rendered(ChatTemplate::load(folder.path())),
              "load: " + folder.file("tokenizer_config.json") + ": " + error);
  }
}

TEST(ChatTemplate, OutputLimit) {
  ChatTemplateOptions options;
  options.max_output_bytes = 3;
  EXPECT_EQ(rendered(ChatTemplate::create("abc", Json::object()), options), "abc");
  EXPECT_EQ(rendered(ChatTemplate::create("abcd", Json::object()), options),
            "render: chat template: line 1: the template's text is over the limit of 3 bytes");
}

}  // namespace
}  // namespace fathom
