#include <CLI/CLI.hpp>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/text_input.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

constexpr const char* kTemplateExamples = R"(Examples:
  fathom template models/demo --messages chat.json
  echo '[{"role": "user", "content": "Hello"}]' | fathom template models/demo --messages - --json

The file holds a list of messages, or an object with "messages" and, if wanted, "tools". Prints the prompt as it
is; --json prints {"prompt": "..", "ids": [..]}.)";

constexpr JsonLimits kLimits = {.max_bytes = size_t{64} << 20, .max_depth = 64};

struct TemplateFlags {
  std::string model;
  std::string messages;
  bool no_generation_prompt = false;
  bool json = false;
};

Result<Json> read_messages(const std::string& path) {
  if (path != "-") return read_json_file(path, kLimits);
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_stdin(kLimits.max_bytes));
  return parse_json(text, "standard input", kLimits);
}

Status render(const TemplateFlags& options) {
  FATHOM_ASSIGN_OR_RETURN(const auto chat_template, ChatTemplate::load(options.model));
  FATHOM_ASSIGN_OR_RETURN(Json messages, read_messages(options.messages));
  ChatTemplateOptions template_options;
  if (options.no_generation_prompt) template_options.generation_prompt = GenerationPrompt::kOmit;
  if (messages.is_object() && messages.contains("messages")) {
    if (messages.contains("tools")) template_options.tools = messages["tools"];
    messages = Json(messages["messages"]);
  }
  FATHOM_ASSIGN_OR_RETURN(const std::string prompt, chat_template->render(messages, template_options));
  if (!options.json) {
    print_text(prompt);
    return ok_status();
  }
  FATHOM_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::load(options.model));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                          tokenizer->encode(prompt, {.add_bos = AddBos::kNever}));
  print_text(dump_json(Json{{"prompt", prompt}, {"ids", ids}}) + "\n");
  return ok_status();
}

}  // namespace

void add_template_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<TemplateFlags>();
  CLI::App* command = app.add_subcommand("template", "chat messages to the model's prompt");
  command->footer(kTemplateExamples);
  command->add_option("MODEL", options->model, "checkpoint folder")->required();
  command->add_option("--messages", options->messages, "a JSON file, or - for standard input")->required();
  command->add_flag("--no-generation-prompt", options->no_generation_prompt,
                    "end after the last message, without the opening of the assistant's turn");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_status] {
    const Status status = render(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
