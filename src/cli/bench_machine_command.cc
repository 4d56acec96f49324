#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/count_list.h"
#include "cli/machine_report.h"

namespace fathom {
namespace {

constexpr const char* kBenchMachineExamples = R"(Examples:
  fathom bench machine
  fathom bench machine --threads 1,8,16 --seconds 2
  fathom bench machine --json
  fathom bench machine --device cuda

Measured, so run it on a quiet machine: the best of many short passes counts, the spread says how quiet it was.)";

struct BenchMachineFlags {
  std::string device = "cpu";
  std::string threads;
  double seconds = MachineOptions().seconds;
  bool json = false;
};

template <typename Ceilings>
void print_ceilings(const BenchMachineFlags& options, const Ceilings& ceilings) {
  if (options.json) {
    print_json(to_json(ceilings));
  } else {
    print_text(to_text(ceilings));
  }
}

Status run_on_cuda(const BenchMachineFlags& options) {
  if (!options.threads.empty()) return invalid_argument("--threads: not of --device cuda");
  FATHOM_ASSIGN_OR_RETURN(const CudaDevice device, open_cuda_device(0));
  FATHOM_ASSIGN_OR_RETURN(const auto meter, CudaMeter::create(device));
  FATHOM_ASSIGN_OR_RETURN(const CudaCeilings ceilings, measure_cuda(*meter, options.seconds));
  print_ceilings(options, ceilings);
  return ok_status();
}

Status run_bench_machine(const BenchMachineFlags& options) {
  if (options.device == "cuda") return run_on_cuda(options);
  MachineOptions machine_options{.seconds = options.seconds};
  FATHOM_ASSIGN_OR_RETURN(const auto counts, parse_count_list(options.threads, "--threads"));
  for (int64_t count : counts) machine_options.thread_counts.push_back(static_cast<int>(count));
  MachineCeilings machine;
  {
    ProgressBar bar(ProgressUnit::kSteps);
    FATHOM_ASSIGN_OR_RETURN(machine, measure_machine(machine_options, &bar));
  }
  print_ceilings(options, machine);
  return ok_status();
}

}  // namespace

void add_bench_machine_command(CLI::App& bench, int& exit_status) {
  auto options = std::make_shared<BenchMachineFlags>();
  CLI::App* command =
      bench.add_subcommand("machine", "this machine's ceilings: reading memory and multiplying, measured");
  command->footer(kBenchMachineExamples);
  command->add_option("--device", options->device, "cpu, or cuda: a GPU's copies and products")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option(
      "--threads", options->threads,
      "thread counts: 1,8,16; default: 1 and all CPUs, on large machines also half a node and a "
      "node");
  command->add_option("--seconds", options->seconds, "of each measurement")->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_status] {
    const Status status = run_bench_machine(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
