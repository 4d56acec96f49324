#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/engine_options.h"
#include "cli/engine_partner.h"
#include "cli/sampling_flags.h"
#include "cli/server_partner.h"
#include "cli/text_input.h"
#include "cli/url_flags.h"
#include "cli/with_ranks.h"
#include "client/openai_api.h"

namespace fathom {
namespace {

constexpr const char* kChatExamples = R"(Examples:
  fathom chat --url http://127.0.0.1:8000                     a conversation with a server
  fathom chat MODEL --system "Answer in one sentence."        one in this process
  fathom chat --url https://api.example.com/v1 --model NAME "Why is the sky blue?"      one answer
  fathom chat --url unix:/run/fathom.sock < question.txt      standard input is one question
  fathom chat --url U --lines < questions.txt                 each line is a turn of one conversation, or a command

/help lists the commands of a conversation. The key comes by --api-key or FATHOM_API_KEY. Without options the server's,
or the model's, sampling defaults hold.)";

constexpr size_t kMaxQuestionBytes = size_t{64} << 20;

struct ChatFlags {
  EngineFlags engine;
  UrlFlags url;
  SamplingFlags sampling;
  std::string prompt;
  ChatOptions chat;
  bool lines = false;
};

struct GivenChat {
  CLI::Option *model = nullptr, *prompt = nullptr, *url = nullptr;
};

Result<std::unique_ptr<ChatPartner>> find_server(const ChatFlags& options) {
  FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<HttpClient> client, make_client(options.url));
  FATHOM_ASSIGN_OR_RETURN(const ServedModelInfo model, find_model(*client, options.url.model));
  return std::unique_ptr<ChatPartner>(
      std::make_unique<ServerPartner>(std::move(client), model.id, sampling_json(options.sampling)));
}

Status converse(ChatPartner& partner, const ChatFlags& options, const std::optional<std::string>& prompt) {
  ChatSession session(partner, options.chat);
  if (prompt) return session.ask(*prompt);
  if (options.lines || ::isatty(STDIN_FILENO) == 1) return session.converse();
  FATHOM_ASSIGN_OR_RETURN(const std::string question, read_stdin(kMaxQuestionBytes));
  if (question.empty()) return invalid_argument("standard input is empty: it is the question");
  return session.ask(question);
}

Status converse_with(Engine& engine, const ChatFlags& options, const std::optional<std::string>& prompt) {
  PromptReader reader(options.engine.model, engine, TextPrompt::kAsMessage);
  EnginePartner partner(engine, reader, sampling_of(options.sampling, engine.generation_config()),
                        PromptForm::kMessages);
  return converse(partner, options, prompt);
}

Status chat(ChatFlags options, const GivenChat& given) {
  std::optional<std::string> prompt;
  if (given.prompt->count() > 0) prompt = options.prompt;
  if (given.url->count() > 0) {
    if (given.model->count() > 0) {
      if (prompt) return invalid_argument("\"{}\": a MODEL has no place beside --url", options.engine.model);
      prompt = options.engine.model;  // the only word is the question
    }
    FATHOM_ASSIGN_OR_RETURN(const auto partner, find_server(options));
    return converse(*partner, options, prompt);
  }
  if (given.model->count() == 0) return invalid_argument("chat wants --url of a server or a MODEL");
  return with_engine(options.engine, [&](Engine& engine) { return converse_with(engine, options, prompt); });
}

}  // namespace

void add_chat_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<ChatFlags>();
  CLI::App* command =
      app.add_subcommand("chat", "a conversation with a server, or with a model in this process");
  command->footer(kChatExamples);
  GivenChat given;
  given.model = command->add_option("MODEL", options->engine.model, "checkpoint folder; none with --url");
  given.prompt = command->add_option("PROMPT", options->prompt,
                                     "one question; without it standard input, or a conversation");
  command->add_option("--system", options->chat.system, "system message");
  command->add_flag("--lines", options->lines, "standard input has a turn or a command on each line");
  command->add_flag("--stats", options->chat.stats, "a line of statistics on stderr after every answer");
  command->add_flag("--json", options->chat.json, "print every answer as a JSON document");
  add_sampling_flags(*command, options->sampling);
  given.url = add_url_flags(*command, options->url);
  add_engine_options(*command, options->engine);
  command->callback([options, given, &exit_status] {
    const Status status = chat(*options, given);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
