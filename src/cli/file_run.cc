#include "cli/file_run.h"

#include <cstdio>
#include <filesystem>

#include "base/clock.h"
#include "cli/console.h"
#include "cli/result_setup.h"
#include "offline/offline_run.h"
#include "offline/record.h"
#include "schedule/sequence.h"

namespace fathom {
namespace {

Json to_json(const OfflineSummary& summary) {
  return {{"lines", summary.num_lines},
          {"failed", summary.num_failed},
          {"resumed", summary.num_resumed},
          {"prompt_tokens", summary.prompt_tokens},
          {"cached_tokens", summary.cached_tokens},
          {"answer_tokens", summary.answer_tokens},
          {"seconds", summary.seconds},
          {"prompt_tokens_per_second", per_second(summary.prompt_tokens, summary.seconds)},
          {"answer_tokens_per_second", per_second(summary.answer_tokens, summary.seconds)}};
}

std::string to_text(const OfflineSummary& summary) {
  return fmt::format(
      "{} lines, {} failed, {} answered before; {} tokens of prompts ({} from the cache) and {} of answers "
      "in {:.1f} s "
      "({:.0f}/s and {:.0f}/s)\n",
      summary.num_lines, summary.num_failed, summary.num_resumed, summary.prompt_tokens,
      summary.cached_tokens, summary.answer_tokens, summary.seconds,
      per_second(summary.prompt_tokens, summary.seconds), per_second(summary.answer_tokens, summary.seconds));
}

Status run_to_file(Engine& engine, const ServedModel& model, Json setup, const FileRunOptions& options) {
  setup["model"] = engine.options().model_dir;  // its name stands in the answers
  OfflineSummary summary;
  {
    ProgressBar bar(ProgressUnit::kSteps);
    const auto show = [&bar](const OfflineProgress& progress) {
      bar.set_note(fmt::format("{:.0f} prompt and {:.0f} answer tokens/s",
                               per_second(progress.prompt_tokens, progress.seconds),
                               per_second(progress.answer_tokens, progress.seconds)));
      bar.report("answering", progress.num_done, progress.num_lines);
    };
    const OfflineOptions offline{.path = options.path,
                                 .out = options.out,
                                 .defaults = options.defaults,
                                 .setup = std::move(setup),
                                 .max_num_seqs = static_cast<size_t>(engine.options().max_num_seqs),
                                 .expanded_prompt_tokens = static_cast<size_t>(
                                     engine.options().expanded_prompt_tokens.value_or(kExpandedPromptTokens)),
                                 .on_progress = show};
    FATHOM_ASSIGN_OR_RETURN(summary, run_offline(engine, model, offline));
  }
  if (options.report.json) print_json(to_json(summary));
  if (options.report.stats) std::fputs(to_text(summary).c_str(), stderr);
  if (summary.num_failed == 0) return ok_status();
  return invalid_data("{}: {} of {} lines failed, their errors are in {}{}", options.path, summary.num_failed,
                      summary.num_lines, options.out,
                      summary.first_error.empty() ? "" : "; the first: " + summary.first_error);
}

Status run_to_stdout(Engine& engine, const ServedModel& model, const FileRunOptions& options) {
  FATHOM_ASSIGN_OR_RETURN(const PromptFile file, read_prompt_file(options.path));
  if (file.form == FileForm::kBatch)
    return invalid_argument("{}: lines of OpenAI's batch form need --out", options.path);
  std::vector<Request> requests;
  for (const PromptLine& line : file.lines) {
    auto parsed = parse_line(line, file.form, model, options.defaults);
    if (const auto* error = std::get_if<ApiError>(&parsed)) return invalid_data("{}", located(line, *error));
    GenerationRequest& generation = std::get<CompletionRequest>(parsed).generation;
    requests.push_back(
        {.prompt_ids = std::move(generation.prompts.front()), .sampling = generation.sampling});
  }
  const double started = monotonic_seconds();
  std::vector<StepTime> steps;
  FATHOM_ASSIGN_OR_RETURN(const std::vector<GeneratedText> texts,
                          generate(engine, requests, {.steps = &steps}));
  const double seconds = monotonic_seconds() - started;
  if (!options.steps.empty()) FATHOM_RETURN_IF_ERROR(write_steps(options.steps, steps));
  for (size_t i = 0; !options.report.json && i < texts.size(); ++i) {
    const std::string head = texts.size() > 1 ? fmt::format("--- prompt {}\n", i + 1) : "";
    print_text(head + texts[i].text + "\n");
  }
  return report(texts, options.report, seconds, engine.statistics().speculation);
}

}  // namespace

Status run_file(Engine& engine, const FileRunOptions& options) {
  const std::string name = std::filesystem::weakly_canonical(engine.options().model_dir).filename().string();
  FATHOM_ASSIGN_OR_RETURN(const auto model, ServedModel::create(engine, engine.options().model_dir, {name},
                                                                SamplingDefaults::kModel));
  FATHOM_ASSIGN_OR_RETURN(Json setup, result_setup(engine));
  model->set_fingerprint(fingerprint_of(engine, setup));
  return options.out.empty() ? run_to_stdout(engine, *model, options)
                             : run_to_file(engine, *model, std::move(setup), options);
}

}  // namespace fathom
