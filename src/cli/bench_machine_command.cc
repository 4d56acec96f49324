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

Measured, so run it on a quiet machine: the best of many short passes counts, the spread says how quiet it was.)";

struct BenchMachineFlags {
  std::string threads;
  double seconds = MachineOptions().seconds;
  bool json = false;
};

Status run_bench_machine(const BenchMachineFlags& options) {
  MachineOptions machine_options{.seconds = options.seconds};
  FATHOM_ASSIGN_OR_RETURN(const auto counts, parse_count_list(options.threads, "--threads"));
  for (int64_t count : counts) machine_options.thread_counts.push_back(static_cast<int>(count));
  MachineCeilings machine;
  {
    ProgressBar bar(ProgressUnit::kSteps);
    FATHOM_ASSIGN_OR_RETURN(machine, measure_machine(machine_options, &bar));
  }
  if (options.json) {
    print_json(to_json(machine));
  } else {
    print_text(to_text(machine));
  }
  return ok_status();
}

}  // namespace

void add_bench_machine_command(CLI::App& bench, int& exit_status) {
  auto options = std::make_shared<BenchMachineFlags>();
  CLI::App* command =
      bench.add_subcommand("machine", "this machine's ceilings: reading memory and multiplying, measured");
  command->footer(kBenchMachineExamples);
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
