#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/serve_options.h"

namespace fathom {
namespace {

constexpr const char* kExamples = R"(Examples:
  fathom serve models/demo
  fathom serve MODEL --host 0.0.0.0 --api-key-file keys.txt --ssl-certfile chain.pem --ssl-keyfile key.pem
  fathom serve MODEL --uds /run/fathom.sock --max-num-seqs 32 --max-queue 128
  fathom serve MODEL --config serve.json              {"port": 8080, "max-model-len": "16k"}

  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"messages": [{"role": "user", "content": "Why is the sky blue?"}], "stream": true}'

Speaks OpenAI's interface; docs/serving.md lists endpoints, fields, limits and metrics. The first line of output
names the address, once the model is loaded. SIGTERM lets answers under way end, a second one does not.
FATHOM_API_KEY in the environment is one more --api-key.)";

Status serve(const ServeFlags& flags) {
  FATHOM_ASSIGN_OR_RETURN(const EngineOptions engine_options, to_engine_options(flags.engine));
  FATHOM_ASSIGN_OR_RETURN(const ServerOptions options, to_server_options(flags));
  const auto loader = [engine_options] {
    ProgressBar progress;
    return Engine::load(engine_options, &progress);
  };
  return run_server(options, loader,
                    {.ready = [](const std::string& url) { print_text("fathom serves at " + url + "\n"); },
                     .end_now = [](int status) { std::_Exit(status); }});
}

}  // namespace

void add_serve_command(CLI::App& app, int& exit_status) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App* command = app.add_subcommand("serve", "HTTP server with OpenAI's interface");
  command->footer(kExamples);
  add_serve_flags(*command, *flags);
  command->callback([flags, command, &exit_status] {
    // A server's log is of use unless told otherwise; for other commands it is not.
    if (command->get_option("--log-level")->count() == 0) spdlog::set_level(spdlog::level::info);
    const Status status = serve(*flags);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
