#include <CLI/CLI.hpp>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <span>

#include "cli/commands.h"
#include "cli/compare_report.h"
#include "cli/console.h"
#include "cli/engine_options.h"
#include "cli/with_ranks.h"
#include "evaluate/compare.h"
#include "parallel/communicator.h"

namespace fathom {
namespace {

constexpr const char* kCompareExamples = R"(Examples:
  fathom compare models/demo models/demo --b-kv-cache-dtype int8 --text-file models/demo/held_out_en.txt
  fathom compare models/demo models/demo --dtype fp32 --b-dtype bf16 --text-file a.txt --text-file b.txt --json
  fathom compare /models/v2-lite /models/v2-lite-w8a8 --text-file chapter.txt --limit 20k

Feeds both the same windows of tokens, BOS in front of each, and compares what they predict for every token. Options hold
for both unless they begin with --b-. One model is in memory at a time: A's logits wait in a temporary file in TMPDIR (or
/var/tmp), four bytes per token of the text and token of the vocabulary; --limit bounds them.)";

struct CompareFlags {
  std::string a, b;
  EngineFlags engine;
  std::string b_dtype, b_kv_cache_dtype;
  std::vector<std::string> text_files;
  std::string context, limit;
  bool json = false;
};

ComparedSides side_flags(const CompareFlags& options) {
  ComparedSides sides{options.engine, options.engine};
  sides.a.model = options.a;
  sides.b.model = options.b;
  if (!options.b_dtype.empty()) sides.b.dtype = options.b_dtype;
  if (!options.b_kv_cache_dtype.empty()) sides.b.kv_cache_dtype = options.b_kv_cache_dtype;
  return sides;
}

Status parse_limit(const std::string& text, const char* option, std::optional<int64_t>& count) {
  if (text.empty()) return ok_status();
  FATHOM_ASSIGN_OR_RETURN(const uint64_t value, parse_size(text, option));
  count = static_cast<int64_t>(std::min<uint64_t>(value, std::numeric_limits<int64_t>::max()));
  return ok_status();
}

Result<TextWindows> read_texts(const CompareFlags& options) {
  ComparedTexts texts{.model_a = options.a, .model_b = options.b, .files = options.text_files};
  FATHOM_RETURN_IF_ERROR(parse_limit(options.context, "--context", texts.context));
  FATHOM_RETURN_IF_ERROR(parse_limit(options.limit, "--limit", texts.limit));
  return read_compared_texts(texts);
}

// The cache need not hold more than a window.
Status fit_to_context(EngineOptions& options, int64_t context) {
  if (options.max_model_len && *options.max_model_len < context) {
    return invalid_argument("--max-model-len: {} is less than --context {}", *options.max_model_len, context);
  }
  options.max_model_len = context;
  return ok_status();
}

std::string temporary_directory() {
  const char* directory = std::getenv("TMPDIR");
  return directory != nullptr && *directory != '\0' ? directory : "/var/tmp";
}

Result<std::unique_ptr<ScratchFile>> make_scratch(uint64_t num_bytes) {
  auto scratch = ScratchFile::create(temporary_directory(), num_bytes);
  if (scratch.status().code() != ErrorCode::kResourceExhausted) return scratch;
  return resource_exhausted("{}; give --limit, or set TMPDIR to another folder", scratch.status().message());
}

// Loads the engine for one of the sides, has rank 0 compute and the others follow it.
template <typename Compute>
Status with_side(const EngineOptions& options, const char* side, const Compute& compute) {
  std::unique_ptr<Engine> engine;
  {
    ProgressBar progress;
    FATHOM_ASSIGN_OR_RETURN(engine, Engine::load(options, &progress));
  }
  if (!engine->leads()) return engine->follow();
  ProgressBar progress(ProgressUnit::kSteps);
  return compute(*engine, &progress).with_context(fmt::format("{} ({})", side, options.model_dir));
}

bool leads(const EngineOptions& options) {
  return options.communicator == nullptr || options.communicator->rank() == 0;
}

Result<DivergenceSummary> compute(const EngineOptions& a, const EngineOptions& b,
                                  const TextWindows& windows) {
  FATHOM_ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(a.model_dir));
  FATHOM_ASSIGN_OR_RETURN(const auto kept, make_scratch(kept_bytes(windows, config.vocab_size)));
  FATHOM_RETURN_IF_ERROR(with_side(a, "A", [&](Engine& engine, ProgressSink* progress) {
    return keep_logits(engine, windows, *kept, progress);
  }));
  DivergenceSummary summary;
  FATHOM_RETURN_IF_ERROR(with_side(b, "B", [&](Engine& engine, ProgressSink* progress) -> Status {
    FATHOM_ASSIGN_OR_RETURN(summary, compare_with_kept(engine, windows, *kept, progress));
    return ok_status();
  }));
  return summary;
}

// Of the ranks other than 0.
Status follow(const EngineOptions& a, const EngineOptions& b) {
  const auto nothing = [](Engine&, ProgressSink*) { return ok_status(); };
  FATHOM_RETURN_IF_ERROR(with_side(a, "A", nothing));
  return with_side(b, "B", nothing);
}

// The engines of all ranks are made for windows of the length that rank 0 found.
Result<int64_t> shared_context(Communicator* communicator, int64_t context) {
  if (communicator == nullptr) return context;
  FATHOM_RETURN_IF_ERROR(communicator->broadcast(std::as_writable_bytes(std::span(&context, 1)), 0));
  return context;
}

// Rank 0 alone reads the texts, which may lie on its server only.
Status compare(const CompareFlags& options, const ComparedSides& sides, EngineOptions a) {
  FATHOM_ASSIGN_OR_RETURN(EngineOptions b, to_engine_options(sides.b, "--b-"));
  b.communicator = a.communicator;
  b.num_threads = a.num_threads;
  std::optional<TextWindows> windows;
  if (leads(a)) {
    FATHOM_ASSIGN_OR_RETURN(windows, read_texts(options));
  }
  FATHOM_ASSIGN_OR_RETURN(const int64_t context,
                          shared_context(a.communicator, windows ? windows->context() : 0));
  FATHOM_RETURN_IF_ERROR(fit_to_context(a, context));
  FATHOM_RETURN_IF_ERROR(fit_to_context(b, context));
  if (!windows) return follow(a, b);
  FATHOM_ASSIGN_OR_RETURN(const DivergenceSummary summary, compute(a, b, *windows));
  if (options.json) {
    print_json(comparison_json(sides, *windows, summary));
  } else {
    print_text(comparison_table(sides, *windows, summary));
  }
  return ok_status();
}

Status compare(const CompareFlags& options) {
  const ComparedSides sides = side_flags(options);
  return with_ranks(sides.a, [&](EngineOptions a) { return compare(options, sides, std::move(a)); });
}

}  // namespace

void add_compare_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<CompareFlags>();
  CLI::App* command = app.add_subcommand("compare", "how far two models' predictions of a text lie apart");
  command->footer(kCompareExamples);
  command->add_option("A", options->a, "checkpoint folder")->required();
  command->add_option("B", options->b, "the one compared with it, or the same")->required();
  add_engine_options(*command, options->engine);
  const std::string group = "B alone";
  command->add_option("--b-dtype", options->b_dtype, "--dtype of B")->group(group);
  command->add_option("--b-kv-cache-dtype", options->b_kv_cache_dtype, "--kv-cache-dtype of B")->group(group);
  command->add_option("--text-file", options->text_files, "a file of text; may be given several times")
      ->required()
      ->allow_extra_args(false);
  command->add_option("--context", options->context,
                      "tokens of a window, BOS included (default: 512, or the model's length if less)");
  command->add_option("--limit", options->limit, "compare on the first so many tokens");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_status] {
    const Status status = compare(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
