#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/clock.h"
#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/engine_options.h"
#include "cli/engine_partner.h"
#include "cli/generate.h"
#include "cli/id_list.h"
#include "cli/sampling_flags.h"
#include "cli/text_input.h"

namespace fathom {
namespace {

constexpr const char* kExamples = R"(Examples:
  fathom run models/demo "The old house" --max-tokens 100 --stats
  fathom run MODEL --chat "Why is the sky blue?"
  fathom run MODEL                                    a conversation
  fathom run MODEL --file prompts.jsonl --greedy --json    {"prompt": ..}, {"ids": [..]} or {"messages": [..]} a line
  fathom run MODEL --ids 100000,185,11 --greedy --json

Sampling defaults come from the model's generation_config.json; --seed makes other answers, the same seed the same.)";

constexpr int64_t kDefaultMaxTokens = 256;

struct Options {
  EngineFlags engine;
  std::string prompt;
  std::string file;
  std::string ids;
  SamplingFlags sampling;
  bool chat = false;
  bool raw = false;
  bool stats = false;
  bool json = false;
};

struct Given {
  CLI::Option* prompt = nullptr;
  CLI::Option* ids = nullptr;
};

Status report(const Options& options, const std::vector<GeneratedText>& generations, double seconds) {
  if (options.json) {
    Json all = Json::array();
    for (const GeneratedText& generation : generations) all.push_back(to_json(generation));
    print_json(generations.size() == 1 ? all[0] : all);
  }
  if (options.stats) std::fprintf(stderr, "%s\n", statistics_line(generations, seconds).c_str());
  for (const GeneratedText& generation : generations) FATHOM_RETURN_IF_ERROR(generation.status);
  return ok_status();
}

Status run_prompts(const Options& options, Engine& engine, const std::vector<std::vector<int32_t>>& prompts,
                   const SamplingParams& sampling) {
  const bool streaming = !options.json && prompts.size() == 1;
  TextSink sink;
  if (streaming) sink = [](size_t, std::string_view text) { print_text(text); };
  const double started = monotonic_seconds();
  FATHOM_ASSIGN_OR_RETURN(const std::vector<GeneratedText> generations,
                          generate(engine, prompts, sampling, sink));
  const double seconds = monotonic_seconds() - started;
  if (prompts.size() == 1) FATHOM_RETURN_IF_ERROR(generations[0].status);
  if (streaming) print_text("\n");
  if (!options.json && !streaming) {
    for (size_t i = 0; i < generations.size(); ++i) {
      print_text(fmt::format("--- prompt {}\n{}\n", i + 1, generations[i].text));
    }
  }
  return report(options, generations, seconds);
}

Status run(const Options& options, const Given& given) {
  FATHOM_ASSIGN_OR_RETURN(const EngineOptions engine_options, to_engine_options(options.engine));
  std::unique_ptr<Engine> engine;
  {
    ProgressBar progress;
    FATHOM_ASSIGN_OR_RETURN(engine, Engine::load(engine_options, &progress));
  }
  const SamplingParams sampling = sampling_of(options.sampling, engine->generation_config());
  PromptReader reader(options.engine.model, *engine,
                      options.chat ? TextPrompt::kAsMessage : TextPrompt::kAsItIs);
  if (!options.file.empty()) {
    FATHOM_ASSIGN_OR_RETURN(const auto prompts, reader.from_json_lines(options.file));
    return run_prompts(options, *engine, prompts, sampling);
  }
  std::vector<int32_t> ids;
  if (given.ids->count() > 0) {
    FATHOM_ASSIGN_OR_RETURN(ids, parse_id_list(options.ids, "--ids"));
  } else if (given.prompt->count() > 0) {
    FATHOM_ASSIGN_OR_RETURN(ids, reader.from_text(options.prompt));
  } else if (::isatty(STDIN_FILENO) == 1) {
    EnginePartner partner(*engine, reader, sampling, options.raw ? PromptForm::kRaw : PromptForm::kMessages);
    return ChatSession(partner, {.stats = options.stats, .json = options.json}).converse();
  } else {
    FATHOM_ASSIGN_OR_RETURN(const std::string text, read_stdin(size_t{512} << 20));
    FATHOM_ASSIGN_OR_RETURN(ids, reader.from_text(text));
  }
  return run_prompts(options, *engine, {ids}, sampling);
}

}  // namespace

void add_run_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("run", "generate text in this process");
  command->footer(kExamples);
  add_engine_flags(*command, options->engine);
  Given given;
  given.prompt = command->add_option("PROMPT", options->prompt,
                                     "the prompt; without it standard input, or a conversation");
  given.ids =
      command->add_option("--ids", options->ids, "the prompt as token ids: 1,2,3")->excludes(given.prompt);
  command->add_option("--file", options->file, "prompts, one JSON object a line")
      ->excludes(given.prompt)
      ->excludes(given.ids);
  options->sampling.params.max_tokens = kDefaultMaxTokens;
  add_sampling_flags(*command, options->sampling);
  CLI::Option* chat = command->add_flag("--chat", options->chat, "put the prompt through the chat template");
  command->add_flag("--raw", options->raw, "the prompt as it is (default, except in a conversation)")
      ->excludes(chat);
  command->add_flag("--stats", options->stats, "a last line of statistics on stderr");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, given, &exit_status] {
    const Status status = run(*options, given);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
