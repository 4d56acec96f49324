#include <spdlog/sinks/stdout_color_sinks.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/console.h"
#include "cli/mindie_config.h"
#include "cli/spelling.h"

namespace fathom {
namespace {

constexpr AddCommand kTopCommands[] = {
    add_run_command,      add_chat_command,   add_serve_command,    add_score_command,
    add_compare_command,  add_eval_command,   add_tokenize_command, add_detokenize_command,
    add_template_command, add_show_command,   add_synth_command,    add_quantize_command,
    add_shard_command,    add_verify_command, add_env_command,      add_bench_command,
    add_launch_command,
};

constexpr const char* kFooter = R"(fathom COMMAND --help shows a command's options and examples.
Every command takes --config FILE: its options as a JSON object, for example {"max-num-seqs": 8, "greedy": true}.)";

// To every command that does something: those without subcommands.
void add_log_level(CLI::App& command) {
  const auto inner = command.get_subcommands({});
  for (CLI::App* subcommand : inner) add_log_level(*subcommand);
  if (!inner.empty()) return;
  command
      .add_option_function<std::string>(
          "--log-level", [](const std::string& level) { spdlog::set_level(spdlog::level::from_str(level)); },
          "debug, info, warning, error or off")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
      ->default_str(command.get_name() == "serve" ? "info" : "warning");
}

int run(int argc, char** argv) {
  CLI::App app{"fathom: inference for the DeepSeek-V2 family"};
  app.name("fathom");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("fathom ") + FATHOM_VERSION);
  int exit_status = 0;
  for (const AddCommand add : kTopCommands) add(app, exit_status);
  add_log_level(app);

  Result<std::vector<std::string>> arguments = apply_mindie_config({argv + 1, argv + argc});
  if (arguments.ok()) arguments = apply_config_file(std::move(*arguments));
  if (!arguments.ok()) return print_error(arguments.status());
  std::vector<std::string> last_first(arguments->rbegin(), arguments->rend());  // as the library takes them
  try {
    app.parse(std::move(last_first));
  } catch (const CLI::ParseError& error) {
    const bool is_failure = error.get_exit_code() != 0;
    const auto unknown = is_failure ? unknown_word(app, *arguments) : std::nullopt;
    if (unknown) {
      print_error(invalid_argument("{}", *unknown));
    } else {
      app.exit(error);
    }
    return is_failure ? 2 : 0;
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return print_error(io_error("standard output: cannot write all results"));
  }
  return exit_status;
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  try {
    spdlog::set_default_logger(spdlog::stderr_color_mt("fathom"));
    spdlog::set_pattern("%H:%M:%S %^%l%$ %v");
    spdlog::set_level(spdlog::level::warn);
    return fathom::run(argc, argv);
  } catch (const std::bad_alloc&) {
    return fathom::print_error(fathom::resource_exhausted("out of memory"));
  } catch (const std::exception& error) {
    return fathom::print_error(fathom::io_error("unexpected failure of a library: {}", error.what()));
  }
}
