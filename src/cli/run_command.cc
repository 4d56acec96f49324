#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/engine_options.h"
#include "cli/generate.h"
#include "cli/id_list.h"
#include "cli/text_input.h"
#include "cli/with_ranks.h"
#include "text/chat_template.h"

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
  SamplingParams sampling;
  uint64_t seed = 0;
  bool greedy = false;
  bool ignore_eos = false;
  bool chat = false;
  bool raw = false;
  bool stats = false;
  bool json = false;
};

struct Given {
  CLI::Option* prompt = nullptr;
  CLI::Option* ids = nullptr;
  CLI::Option* temperature = nullptr;
  CLI::Option* top_p = nullptr;
  CLI::Option* top_k = nullptr;
  CLI::Option* repetition_penalty = nullptr;
};

SamplingParams sampling_of(const Options& options, const Given& given, const GenerationConfig& defaults) {
  SamplingParams sampling = options.sampling;
  if (given.temperature->count() == 0) sampling.temperature = defaults.do_sample ? defaults.temperature : 0;
  if (given.top_p->count() == 0) sampling.top_p = defaults.top_p;
  if (given.top_k->count() == 0) sampling.top_k = static_cast<int32_t>(defaults.top_k);
  if (given.repetition_penalty->count() == 0) sampling.repetition_penalty = defaults.repetition_penalty;
  if (options.greedy) sampling.temperature = 0;
  sampling.ignore_eos = options.ignore_eos;
  sampling.seed = options.seed;
  return sampling;
}

class PromptReader {
 public:
  PromptReader(const Options& options, const Engine& engine) : options_(options), engine_(engine) {}

  Result<std::vector<int32_t>> from_text(const std::string& text) {
    if (options_.chat) return from_messages(Json::array({Json{{"role", "user"}, {"content", text}}}));
    return encode(text, {});
  }

  // Templates write BOS and other special tokens themselves.
  Result<std::vector<int32_t>> from_messages(const Json& messages) {
    if (!template_) {
      FATHOM_ASSIGN_OR_RETURN(template_, ChatTemplate::load(options_.engine.model));
    }
    FATHOM_ASSIGN_OR_RETURN(const std::string text, template_->render(messages));
    return encode(text, {.add_bos = AddBos::kNever});
  }

  Result<std::vector<std::vector<int32_t>>> from_json_lines(const std::string& path) {
    FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(path, size_t{512} << 20));
    std::vector<std::vector<int32_t>> prompts;
    size_t number = 0;
    for (size_t begin = 0; begin < content.size();) {
      const size_t end = std::min(content.find('\n', begin), content.size());
      const std::string line = content.substr(begin, end - begin);
      begin = end + 1;
      ++number;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const std::string where = fmt::format("{} line {}", path, number);
      FATHOM_ASSIGN_OR_RETURN(std::vector<int32_t> ids, from_json_line(line, where));
      prompts.push_back(std::move(ids));
    }
    return prompts;
  }

 private:
  Result<std::vector<int32_t>> encode(const std::string& text, const EncodeOptions& encode_options) {
    if (engine_.tokenizer() == nullptr) {
      return invalid_argument("{}: no tokenizer.json, so only --ids can be run", options_.engine.model);
    }
    return engine_.tokenizer()->encode(text, encode_options);
  }

  Result<std::vector<int32_t>> from_json_line(const std::string& line, const std::string& where) {
    FATHOM_ASSIGN_OR_RETURN(const Json value, parse_json(line, where, {.max_bytes = size_t{512} << 20}));
    if (value.is_object() && value.contains("messages")) return from_messages(value["messages"]);
    if (value.is_object() && value.contains("ids")) return ids_from_json(value["ids"], where);
    for (const char* key : {"prompt", "text"}) {
      if (value.is_object() && value.contains(key) && value[key].is_string()) {
        return from_text(value[key].get<std::string>());
      }
    }
    return invalid_data("{}: not an object with \"prompt\", \"text\", \"ids\" or \"messages\"", where);
  }

  const Options& options_;
  const Engine& engine_;
  std::unique_ptr<ChatTemplate> template_;
};

Status report(const Options& options, const std::vector<Generation>& generations, double seconds) {
  if (options.json) {
    Json all = Json::array();
    for (const Generation& generation : generations) all.push_back(to_json(generation));
    print_json(generations.size() == 1 ? all[0] : all);
  }
  if (options.stats) std::fprintf(stderr, "%s\n", statistics_line(generations, seconds).c_str());
  for (const Generation& generation : generations) FATHOM_RETURN_IF_ERROR(generation.status);
  return ok_status();
}

Status run_prompts(const Options& options, Engine& engine, const std::vector<std::vector<int32_t>>& prompts,
                   const SamplingParams& sampling) {
  const bool streaming = !options.json && prompts.size() == 1;
  TextSink sink;
  if (streaming) sink = [](size_t, std::string_view text) { print_text(text); };
  const double started = monotonic_seconds();
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Generation> generations,
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

// One turn of a conversation; messages gains the question and the answer, or stays as it was.
Status answer_line(const Options& options, Engine& engine, PromptReader& reader,
                   const SamplingParams& sampling, const std::string& line, Json& messages) {
  Json asked = messages;
  asked.push_back({{"role", "user"}, {"content", line}});
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                          options.raw ? reader.from_text(line) : reader.from_messages(asked));
  TextSink sink;
  if (!options.json) sink = [](size_t, std::string_view text) { print_text(text); };
  const double started = monotonic_seconds();
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Generation> answers, generate(engine, {ids}, sampling, sink));
  FATHOM_RETURN_IF_ERROR(answers[0].status);
  if (!options.json) print_text("\n");
  FATHOM_RETURN_IF_ERROR(report(options, answers, monotonic_seconds() - started));
  asked.push_back({{"role", "assistant"}, {"content", answers[0].text}});
  messages = std::move(asked);
  return ok_status();
}

// Until the end of the input. A line that cannot be answered is reported and forgotten.
Status converse(const Options& options, Engine& engine, PromptReader& reader,
                const SamplingParams& sampling) {
  Json messages = Json::array();
  std::string line;
  while (std::fputs("> ", stderr), std::getline(std::cin, line)) {
    if (line.empty()) continue;
    const Status status = answer_line(options, engine, reader, sampling, line, messages);
    if (!status.ok()) print_error(status);
  }
  return ok_status();
}

Status run(const Options& options, const Given& given, Engine& engine) {
  const SamplingParams sampling = sampling_of(options, given, engine.generation_config());
  PromptReader reader(options, engine);
  if (!options.file.empty()) {
    FATHOM_ASSIGN_OR_RETURN(const auto prompts, reader.from_json_lines(options.file));
    return run_prompts(options, engine, prompts, sampling);
  }
  std::vector<int32_t> ids;
  if (given.ids->count() > 0) {
    FATHOM_ASSIGN_OR_RETURN(ids, parse_id_list(options.ids, "--ids"));
  } else if (given.prompt->count() > 0) {
    FATHOM_ASSIGN_OR_RETURN(ids, reader.from_text(options.prompt));
  } else if (::isatty(STDIN_FILENO) == 1) {
    return converse(options, engine, reader, sampling);
  } else {
    FATHOM_ASSIGN_OR_RETURN(const std::string text, read_stdin(size_t{512} << 20));
    FATHOM_ASSIGN_OR_RETURN(ids, reader.from_text(text));
  }
  return run_prompts(options, engine, {ids}, sampling);
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
  SamplingParams& sampling = options->sampling;
  sampling.max_tokens = kDefaultMaxTokens;
  command->add_option("--max-tokens", sampling.max_tokens, "longest answer, in tokens")
      ->capture_default_str();
  given.temperature = command->add_option("--temperature", sampling.temperature, "0: greedy");
  given.top_p =
      command->add_option("--top-p", sampling.top_p, "smallest set of tokens with this probability");
  given.top_k = command->add_option("--top-k", sampling.top_k, "the k most likely tokens; 0: all");
  command->add_option("--min-p", sampling.min_p, "tokens at least this share as likely as the likeliest");
  given.repetition_penalty =
      command->add_option("--repetition-penalty", sampling.repetition_penalty, "above 1 discourages");
  command->add_option("--presence-penalty", sampling.presence_penalty,
                      "per token that occurred in the answer");
  command->add_option("--frequency-penalty", sampling.frequency_penalty, "per occurrence in the answer");
  command->add_option("--seed", options->seed, "random seed")->capture_default_str();
  command->add_flag("--greedy", options->greedy, "always the likeliest token");
  command->add_flag("--ignore-eos", options->ignore_eos, "go on after the end-of-sequence token");
  CLI::Option* chat = command->add_flag("--chat", options->chat, "put the prompt through the chat template");
  command->add_flag("--raw", options->raw, "the prompt as it is (default, except in a conversation)")
      ->excludes(chat);
  command->add_flag("--stats", options->stats, "a last line of statistics on stderr");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, given, &exit_status] {
    const Status status =
        with_engine(options->engine, [&](Engine& engine) { return run(*options, given, engine); });
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
