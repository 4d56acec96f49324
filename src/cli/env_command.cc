#include "cli/commands.h"
#include "cli/console.h"

namespace fathom {

void add_env_command(CLI::App& app, int& exit_status) {
  CLI::App* command = app.add_subcommand("env", "show the CPU features in use and the kernels chosen");
  command->callback([&exit_status] { exit_status = 0; });
}

}  // namespace fathom
