#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/count_list.h"
#include "cli/engine_options.h"
#include "cli/model_page.h"
#include "cli/model_report.h"
#include "cli/with_ranks.h"

namespace fathom {
namespace {

constexpr const char* kBenchModelExamples = R"(Examples:
  fathom bench model MODEL                                        512 tokens in, 128 out, one request
  fathom bench model MODEL --pairs 2048x2048,512x512 --batch 1,4,16
  fathom bench model MODEL --pairs 4096x32 --repeat 3 --format json
  fathom bench model MODEL --context 1k,4k,16k                    decode at these contexts, 32 tokens each
  fathom bench model MODEL --pairs 256x256 --format seed-csv
  fathom bench model MODEL --context 1k,4k --batch 1,4,16 --repeat 3 --format html > speed.html
  fathom bench model MODEL --draft-model SMALL                    with drafts; also --speculation ngram

Requests of random tokens, greedy, end tokens ignored. The machine's ceilings are measured before and after every run
and between its prefill and its decode; a phase's share is of the better of the two beside it. Bytes of a step are
those of the weights it must read, with the expected number of distinct experts, and of the latent cache. W8A16 weights
count at half the int8 rate, because they take two int8 products. With drafts, which are off unless asked for, a step
counts as the steps that its tokens would have taken one by one: a share above 100 % is beyond that roof.)";

struct BenchModelFlags {
  EngineFlags engine;
  std::string pairs;
  std::string context;
  std::string batch = "1";
  std::string format = "table";
  int64_t repeats = 1;
  uint64_t seed = 0;
  double seconds = ModelBenchOptions().machine_seconds;
  std::string read_memory;
  bool json = false;
  CLI::Option* max_num_seqs = nullptr;
};

Result<ModelBenchOptions> to_bench_options(const BenchModelFlags& options, const EngineOptions& engine) {
  constexpr int64_t kContextOutput = 32;
  constexpr LengthPair kDefaultPair = {.input = 512, .output = 128};
  ModelBenchOptions bench;
  bench.engine = engine;
  if (options.max_num_seqs->count() > 0) bench.max_num_seqs = bench.engine.max_num_seqs;
  FATHOM_ASSIGN_OR_RETURN(const auto pairs, parse_pair_list(options.pairs, "--pairs"));
  for (const auto& [input, output] : pairs) bench.pairs.push_back({.input = input, .output = output});
  FATHOM_ASSIGN_OR_RETURN(const auto contexts, parse_count_list(options.context, "--context"));
  for (int64_t context : contexts) bench.pairs.push_back({.input = context, .output = kContextOutput});
  if (bench.pairs.empty()) bench.pairs.push_back(kDefaultPair);
  FATHOM_ASSIGN_OR_RETURN(bench.batches, parse_count_list(options.batch, "--batch"));
  if (bench.batches.empty()) return invalid_argument("--batch: no number given");
  bench.num_repeats = options.repeats;
  bench.seed = options.seed;
  bench.machine_seconds = options.seconds;
  if (!options.read_memory.empty()) {
    constexpr uint64_t kLeast = uint64_t{1} << 16, kMost = uint64_t{2} << 30;
    FATHOM_ASSIGN_OR_RETURN(bench.read_bytes, parse_size(options.read_memory, "--read-memory"));
    if (bench.read_bytes < kLeast || bench.read_bytes > kMost) {
      return invalid_argument("--read-memory: {} is outside [64k, 2G]", options.read_memory);
    }
  }
  return bench;
}

Status run_bench_model(const BenchModelFlags& options, const EngineOptions& engine) {
  FATHOM_ASSIGN_OR_RETURN(const ModelBenchOptions bench, to_bench_options(options, engine));
  if (engine.communicator != nullptr && engine.communicator->rank() != 0) return follow_bench(bench);
  ModelBenchReport report;
  {
    ProgressBar bar(ProgressUnit::kSteps);
    FATHOM_ASSIGN_OR_RETURN(report, bench_model(bench, &bar));
  }
  if (options.json || options.format == "json") {
    print_json(to_json(report));
  } else if (options.format == "csv") {
    print_text(to_csv(report));
  } else if (options.format == "seed-csv") {
    print_text(to_seed_csv(report));
  } else if (options.format == "html") {
    print_text(to_html(report));
  } else {
    print_text(to_text(report));
  }
  return ok_status();
}

}  // namespace

void add_bench_model_command(CLI::App& bench, int& exit_status) {
  auto options = std::make_shared<BenchModelFlags>();
  CLI::App* command =
      bench.add_subcommand("model", "a model's speed, and its share of the machine's ceilings");
  command->footer(kBenchModelExamples);
  // Figures of a step hold for steps of one token a sequence.
  options->engine.default_speculation = Speculation::kOff;
  add_engine_flags(*command, options->engine);
  options->max_num_seqs = command->get_option("--max-num-seqs");
  command->add_option("--pairs", options->pairs,
                      "prompt and output tokens of each request: 2048x2048,512x512; default 512x128");
  command->add_option("--context", options->context, "as --pairs, with 32 output tokens each: 1k,4k");
  command->add_option("--batch", options->batch, "requests at once: 1,4,16")->capture_default_str();
  command->add_option("--repeat", options->repeats, "measure each row so often: median, smallest and largest")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "of the prompts")->capture_default_str();
  command
      ->add_option(
          "--seconds", options->seconds,
          "of each of the machine's measurements; beside a run two thirds for reading, one for each rate")
      ->capture_default_str();
  command->add_option(
      "--read-memory", options->read_memory,
      "that reading is measured over: 512M; default: eight times the caches. With less shares "
      "mean nothing, but runs start sooner");
  CLI::Option* format = command->add_option("--format", options->format, "table, csv, json, seed-csv, html")
                            ->check(CLI::IsMember({"table", "csv", "json", "seed-csv", "html"}))
                            ->capture_default_str();
  command->add_flag("--json", options->json, "the same as --format json")->excludes(format);
  command->callback([options, &exit_status] {
    const Status status = with_ranks(
        options->engine, [&](const EngineOptions& engine) { return run_bench_model(*options, engine); });
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
