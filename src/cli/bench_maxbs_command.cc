#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/count_list.h"
#include "cli/engine_options.h"
#include "cli/max_batch_report.h"
#include "cli/with_ranks.h"

namespace fathom {
namespace {

constexpr const char* kBenchMaxbsExamples = R"(Examples:
  fathom bench maxbs MODEL --pairs 256x256 --limit-ms 50
  fathom bench maxbs MODEL --pairs 2048x512,256x256 --range 1x16,1x200 --limit-ms 100 --format csv

The largest batch whose tokens after the first come, on average, within the limit. Halves the range of batches: one run
for each batch tried. Batches for which the latent cache has no room count as too large; --kv-memory gives it more.)";

struct BenchMaxbsFlags {
  EngineFlags engine;
  std::string pairs;
  std::string range = "1x64";
  std::string format = "table";
  double limit_ms = MaxBatchOptions().limit_ms;
  uint64_t seed = 0;
  bool json = false;
};

Result<MaxBatchOptions> to_max_batch_options(const BenchMaxbsFlags& options, const EngineOptions& engine) {
  MaxBatchOptions search;
  search.engine = engine;
  FATHOM_ASSIGN_OR_RETURN(const auto pairs, parse_pair_list(options.pairs, "--pairs"));
  FATHOM_ASSIGN_OR_RETURN(const auto ranges, parse_pair_list(options.range, "--range"));
  if (pairs.empty()) return invalid_argument("--pairs: no lengths given");
  if (ranges.size() != 1 && ranges.size() != pairs.size()) {
    return invalid_argument("--range: {} ranges for {} pairs; one for all or one for each is wanted",
                            ranges.size(), pairs.size());
  }
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto& [low, high] = ranges[ranges.size() == 1 ? 0 : i];
    search.cases.push_back(
        {.lengths = {.input = pairs[i].first, .output = pairs[i].second}, .low = low, .high = high});
  }
  search.limit_ms = options.limit_ms;
  search.seed = options.seed;
  return search;
}

Status run_bench_maxbs(const BenchMaxbsFlags& options, const EngineOptions& engine) {
  FATHOM_ASSIGN_OR_RETURN(const MaxBatchOptions search, to_max_batch_options(options, engine));
  if (engine.communicator != nullptr && engine.communicator->rank() != 0) return follow_max_batch(search);
  std::vector<MaxBatchResult> results;
  {
    ProgressBar bar(ProgressUnit::kSteps);
    FATHOM_ASSIGN_OR_RETURN(results, find_max_batch(search, &bar));
  }
  if (options.json || options.format == "json") {
    print_json(to_json(results, options.limit_ms));
  } else {
    print_text(options.format == "csv" ? to_csv(results) : to_text(results, options.limit_ms));
  }
  return ok_status();
}

}  // namespace

void add_bench_maxbs_command(CLI::App& bench, int& exit_status) {
  auto options = std::make_shared<BenchMaxbsFlags>();
  CLI::App* command = bench.add_subcommand("maxbs", "the largest batch under a limit on the time per token");
  command->footer(kBenchMaxbsExamples);
  // Figures of a step hold for steps of one token a sequence.
  options->engine.default_speculation = Speculation::kOff;
  add_engine_flags(*command, options->engine);
  // The ranges decide it.
  command->remove_option(command->get_option("--max-num-seqs"));
  command->add_option("--pairs", options->pairs, "prompt and output tokens of each request: 2048x512,256x256")
      ->required();
  command
      ->add_option("--range", options->range,
                   "smallest and largest batch: 1x64; one for all pairs or one for each")
      ->capture_default_str();
  command->add_option("--limit-ms", options->limit_ms, "of a token after the first")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--seed", options->seed, "of the prompts")->capture_default_str();
  CLI::Option* format = command->add_option("--format", options->format, "table, csv, json")
                            ->check(CLI::IsMember({"table", "csv", "json"}))
                            ->capture_default_str();
  command->add_flag("--json", options->json, "the same as --format json")->excludes(format);
  command->callback([options, &exit_status] {
    const Status status = with_ranks(
        options->engine, [&](const EngineOptions& engine) { return run_bench_maxbs(*options, engine); });
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
