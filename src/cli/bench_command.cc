#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace fathom {
namespace {

constexpr const char* kBenchExamples = R"(Examples:
  fathom bench machine
  fathom bench model MODEL --pairs 512x128 --batch 1,4,16
  fathom bench maxbs MODEL --pairs 256x256 --limit-ms 50
  fathom bench kernels --only experts
  fathom launch -n 2 -- fathom bench comm
  fathom bench serve --url http://127.0.0.1:8000 --num-prompts 200 --max-concurrency 32

fathom bench COMMAND --help shows a command's options and more examples.)";

constexpr AddCommand kBenchCommands[] = {add_bench_machine_command, add_bench_model_command,
                                         add_bench_maxbs_command,   add_bench_kernels_command,
                                         add_bench_comm_command,    add_bench_serve_command};

}  // namespace

void add_bench_command(CLI::App& app, int& exit_status) {
  CLI::App* command =
      app.add_subcommand("bench", "measure this machine, a model or kernels against it, or a server");
  command->footer(kBenchExamples);
  command->require_subcommand(1);
  for (const AddCommand add : kBenchCommands) add(*command, exit_status);
}

}  // namespace fathom
