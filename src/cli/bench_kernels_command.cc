#include <CLI/CLI.hpp>
#include <memory>

#include "benchmark/kernel_bench.h"
#include "cli/commands.h"
#include "cli/config_source.h"
#include "cli/console.h"
#include "cli/count_list.h"
#include "cli/engine_options.h"
#include "cli/kernel_report.h"

namespace fathom {
namespace {

constexpr const char* kBenchKernelsExamples = R"(Examples:
  fathom bench kernels                                            DeepSeek-V2-Lite's shapes
  fathom bench kernels --model deepseek-v2 --only linear --tokens 1,512
  fathom bench kernels --only attention --contexts 1k,32k --seconds 0.5
  fathom bench kernels --model MODEL --json
  FATHOM_ISA=avx2 fathom bench kernels --only experts

Each kernel in use, by itself, with random weights that come from memory. The roof is the lower of read bandwidth and
multiply-add rate, measured before and after each table; W8A16 counts at half the int8 rate, because it takes two int8
products. No weights are needed, only a config.)";

struct BenchKernelsFlags {
  std::string model = "deepseek-v2-lite";
  std::string tokens = "1,4,16,64,512";
  std::string contexts = "256,4096,16384";
  std::string only;
  int threads = 0;
  double seconds = KernelBenchOptions().seconds;
  bool json = false;
};

Status run_bench_kernels(const BenchKernelsFlags& options) {
  KernelBenchOptions bench{
      .model = options.model, .num_threads = options.threads, .seconds = options.seconds};
  FATHOM_ASSIGN_OR_RETURN(bench.config, find_config(options.model));
  FATHOM_ASSIGN_OR_RETURN(bench.isa, isa_in_use(detect_cpu_features()));
  FATHOM_ASSIGN_OR_RETURN(bench.tokens, parse_count_list(options.tokens, "--tokens"));
  FATHOM_ASSIGN_OR_RETURN(bench.contexts, parse_count_list(options.contexts, "--contexts"));
  if (!options.only.empty()) bench.only = kernel_group_from_name(options.only);
  KernelBenchReport report;
  {
    ProgressBar bar(ProgressUnit::kSteps);
    FATHOM_ASSIGN_OR_RETURN(report, bench_kernels(bench, &bar));
  }
  if (options.json) {
    print_json(to_json(report));
  } else {
    print_text(to_text(report));
  }
  return ok_status();
}

}  // namespace

void add_bench_kernels_command(CLI::App& bench, int& exit_status) {
  auto options = std::make_shared<BenchKernelsFlags>();
  CLI::App* command =
      bench.add_subcommand("kernels", "each kernel on a model's shapes, and its share of the roof");
  command->footer(kBenchKernelsExamples);
  command
      ->add_option("--model", options->model,
                   "deepseek-v2-lite, deepseek-v2, a config.json or a checkpoint folder")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "0: all CPUs this process may use")
      ->capture_default_str();
  command->add_option("--tokens", options->tokens, "rows of products and of small kernels")
      ->capture_default_str();
  command->add_option("--contexts", options->contexts, "cached tokens, of attention")->capture_default_str();
  command->add_option("--only", options->only, "one group: linear, experts, attention, small")
      ->check(CLI::IsMember({"linear", "experts", "attention", "small"}));
  command->add_option("--seconds", options->seconds, "of each row")->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_status] {
    const Status status = run_bench_kernels(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
