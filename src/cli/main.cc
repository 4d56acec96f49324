#include <CLI/CLI.hpp>
#include <exception>

#include "cli/commands.h"
#include "cli/console.h"

int main(int argc, char** argv) {
  CLI::App app{"fathom: inference for the DeepSeek-V2 family"};
  app.name("fathom");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("fathom ") + FATHOM_VERSION);
  int exit_status = 0;
  for (const fathom::AddCommand add : {
           fathom::add_run_command,
           fathom::add_score_command,
           fathom::add_env_command,
           fathom::add_tokenize_command,
           fathom::add_detokenize_command,
           fathom::add_synth_command,
           fathom::add_show_command,
           fathom::add_template_command,
       }) {
    add(app, exit_status);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::bad_alloc&) {
    return fathom::print_error(fathom::resource_exhausted("out of memory"));
  }
  return exit_status;
}
