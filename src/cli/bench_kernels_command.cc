#include <CLI/CLI.hpp>
#include <memory>

#include "benchmark/cuda_kernel_bench.h"
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
  fathom bench kernels --device cuda                              on a GPU
  fathom bench kernels --device cuda --model deepseek-v2 --only attention

Each kernel in use, by itself, with random weights that come from memory. The roof is the lower of read bandwidth and
multiply-add rate, measured before and after each table; W8A16 counts at half the int8 rate, because it takes two int8
products. No weights are needed, only a config.)";

struct BenchKernelsFlags {
  std::string device = "cpu";
  std::string model = "deepseek-v2-lite";
  std::string tokens;
  std::string contexts;
  std::string only;
  int threads = 0;
  double seconds = KernelBenchOptions().seconds;
  bool json = false;
};

// What a device is busy with is more, and what it has to be fast at longer.
constexpr const char* kCpuTokens = "1,4,16,64,512";
constexpr const char* kCudaTokens = "1,8,64,256,2048";
constexpr const char* kCpuContexts = "256,4096,16384";
constexpr const char* kCudaContexts = "1024,8192";

std::string chosen_or(const std::string& chosen, const char* otherwise) {
  return chosen.empty() ? otherwise : chosen;
}

Status run_bench_kernels(const BenchKernelsFlags& options) {
  KernelBenchOptions bench{
      .model = options.model, .num_threads = options.threads, .seconds = options.seconds};
  FATHOM_ASSIGN_OR_RETURN(bench.config, find_config(options.model));
  FATHOM_ASSIGN_OR_RETURN(bench.isa, isa_in_use(detect_cpu_features()));
  const bool is_cuda = options.device == "cuda";
  FATHOM_ASSIGN_OR_RETURN(
      bench.tokens,
      parse_count_list(chosen_or(options.tokens, is_cuda ? kCudaTokens : kCpuTokens), "--tokens"));
  FATHOM_ASSIGN_OR_RETURN(
      bench.contexts,
      parse_count_list(chosen_or(options.contexts, is_cuda ? kCudaContexts : kCpuContexts), "--contexts"));
  if (!options.only.empty()) bench.only = kernel_group_from_name(options.only);
  KernelBenchReport report;
  {
    ProgressBar bar(ProgressUnit::kSteps);
    if (is_cuda) {
      FATHOM_ASSIGN_OR_RETURN(const CudaDevice device, open_cuda_device(0));
      FATHOM_ASSIGN_OR_RETURN(report, bench_cuda_kernels(device, bench, &bar));
    } else {
      FATHOM_ASSIGN_OR_RETURN(report, bench_kernels(bench, &bar));
    }
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
  command->add_option("--device", options->device, "cpu, or cuda: its kernels, timed by its own clock")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--threads", options->threads, "0: all CPUs this process may use")
      ->capture_default_str();
  command->add_option(
      "--tokens", options->tokens,
      fmt::format("rows of products and of small kernels; default {}, on cuda {}", kCpuTokens, kCudaTokens));
  command->add_option(
      "--contexts", options->contexts,
      fmt::format("cached tokens, of attention; default {}, on cuda {}", kCpuContexts, kCudaContexts));
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
