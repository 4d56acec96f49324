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
#include "cli/file_run.h"
#include "cli/generate.h"
#include "cli/id_list.h"
#include "cli/sampling_flags.h"
#include "cli/text_input.h"
#include "cli/with_ranks.h"

namespace fathom {
namespace {

constexpr const char* kRunExamples = R"(Examples:
  fathom run models/demo "The old house" --max-tokens 100 --stats
  fathom run MODEL --chat "Why is the sky blue?"
  fathom run MODEL                                    a conversation
  fathom run MODEL --file prompts.jsonl --greedy --json    {"prompt": ..}, {"ids": [..]} or {"messages": [..]} a line
  fathom run MODEL --file batch.jsonl --out answers.jsonl  thousands of them, or OpenAI's batch lines; resumable
  fathom run MODEL --ids 100000,185,11 --greedy --json

Sampling defaults come from the model's generation_config.json; --seed makes other answers, the same seed the same.)";

constexpr int64_t kDefaultMaxTokens = 256;

struct RunFlags {
  EngineFlags engine;
  std::string prompt;
  std::string file;
  std::string out;
  std::string ids;
  std::string steps;
  int64_t warm_up = 0;
  SamplingFlags sampling;
  bool chat = false;
  bool raw = false;
  ReportOptions report;
};

struct GivenRun {
  CLI::Option* prompt = nullptr;
  CLI::Option* ids = nullptr;
};

// What a line of a file leaves out: what was given here, not the model's own defaults.
FileRunOptions to_file_options(const RunFlags& options) {
  Json fields = sampling_json(options.sampling);
  fields.erase("seed");
  return {.path = options.file,
          .out = options.out,
          .steps = options.steps,
          .defaults = {.fields = std::move(fields),
                       .own_max_tokens = kDefaultMaxTokens,
                       .seed = options.sampling.seed,
                       .chat = options.chat},
          .report = options.report};
}

// Two tokens after a prompt of so many: weights and workspace are in place when the prompts come. It repeats
// the first id of the vocabulary, so that no real prompt finds its pages in the cache.
Status warm_up(const RunFlags& options, Engine& engine) {
  if (options.warm_up == 0) return ok_status();
  Request request;
  request.prompt_ids.assign(static_cast<size_t>(options.warm_up), 0);
  request.sampling.temperature = 0;
  request.sampling.max_tokens = 2;
  request.sampling.ignore_eos = true;
  FATHOM_ASSIGN_OR_RETURN(const auto texts, generate(engine, {request}));
  return texts[0].status.with_context("--warm-up");
}

Status run_prompt(const RunFlags& options, Engine& engine, std::vector<int32_t> prompt,
                  const SamplingParams& sampling) {
  std::vector<StepTime> steps;
  GenerateHooks hooks{.steps = &steps};
  if (!options.report.json) hooks.text = [](size_t, std::string_view text) { print_text(text); };
  const double started = monotonic_seconds();
  FATHOM_ASSIGN_OR_RETURN(const std::vector<GeneratedText> texts,
                          generate(engine, {{.prompt_ids = std::move(prompt), .sampling = sampling}}, hooks));
  const double seconds = monotonic_seconds() - started;
  if (!options.steps.empty()) FATHOM_RETURN_IF_ERROR(write_steps(options.steps, steps));
  FATHOM_RETURN_IF_ERROR(texts[0].status);
  if (!options.report.json) print_text("\n");
  return report(texts, options.report, seconds, engine.statistics().speculation);
}

Status generate(const RunFlags& options, const GivenRun& given, Engine& engine) {
  FATHOM_RETURN_IF_ERROR(warm_up(options, engine));
  if (!options.file.empty()) return run_file(engine, to_file_options(options));
  const SamplingParams sampling = sampling_of(options.sampling, engine.generation_config());
  PromptReader reader(options.engine.model, engine,
                      options.chat ? TextPrompt::kAsMessage : TextPrompt::kAsItIs);
  std::vector<int32_t> ids;
  if (given.ids->count() > 0) {
    FATHOM_ASSIGN_OR_RETURN(ids, parse_id_list(options.ids, "--ids"));
  } else if (given.prompt->count() > 0) {
    FATHOM_ASSIGN_OR_RETURN(ids, reader.from_text(options.prompt));
  } else if (::isatty(STDIN_FILENO) == 1) {
    EnginePartner partner(engine, reader, sampling, options.raw ? PromptForm::kRaw : PromptForm::kMessages);
    return ChatSession(partner, {.stats = options.report.stats, .json = options.report.json}).converse();
  } else {
    FATHOM_ASSIGN_OR_RETURN(const std::string text, read_stdin(size_t{512} << 20));
    FATHOM_ASSIGN_OR_RETURN(ids, reader.from_text(text));
  }
  return run_prompt(options, engine, std::move(ids), sampling);
}

}  // namespace

void add_run_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("run", "generate text in this process");
  command->footer(kRunExamples);
  add_engine_flags(*command, options->engine);
  GivenRun given;
  given.prompt = command->add_option("PROMPT", options->prompt,
                                     "the prompt; without it standard input, or a conversation");
  given.ids =
      command->add_option("--ids", options->ids, "the prompt as token ids: 1,2,3")->excludes(given.prompt);
  CLI::Option* file = command->add_option("--file", options->file, "prompts, one JSON object a line")
                          ->excludes(given.prompt)
                          ->excludes(given.ids);
  CLI::Option* out =
      command
          ->add_option("--out", options->out,
                       "where the answers to --file go, one JSON object a line; the same command again goes "
                       "on with what an interrupted one left")
          ->needs(file);
  options->sampling.params.max_tokens = kDefaultMaxTokens;
  add_sampling_flags(*command, options->sampling);
  CLI::Option* chat = command->add_flag("--chat", options->chat, "put the prompt through the chat template");
  command->add_flag("--raw", options->raw, "the prompt as it is (default, except in a conversation)")
      ->excludes(chat);
  command
      ->add_option("--warm-up", options->warm_up,
                   "first compute a prompt of so many tokens, whose time counts nowhere")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24))
      ->capture_default_str();
  command
      ->add_option("--steps", options->steps,
                   "write the engine's steps to this file: seconds, first and later tokens of each")
      ->excludes(out);
  command->add_flag("--stats", options->report.stats, "a last line of statistics on stderr");
  command->add_flag("--json", options->report.json, "print one JSON document");
  command->callback([options, given, &exit_status] {
    const Status status =
        with_engine(options->engine, [&](Engine& engine) { return generate(*options, given, engine); });
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
