#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/log.h"
#include "benchmark/step_roof.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/result_setup.h"
#include "cli/serve_options.h"
#include "cli/with_ranks.h"

namespace fathom {
namespace {

constexpr const char* kServeExamples = R"(Examples:
  fathom serve models/demo
  fathom serve MODEL --host 0.0.0.0 --api-key-file keys.txt --ssl-certfile chain.pem --ssl-keyfile key.pem
  fathom serve MODEL --uds /run/fathom.sock --max-num-seqs 32 --max-queue 128
  fathom serve MODEL --config serve.json              {"port": 8080, "max-model-len": "16k"}
  fathom serve --mindie-config config.json            MindIE Service's own file (docs/mindie.md)

  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"messages": [{"role": "user", "content": "Why is the sky blue?"}], "stream": true}'

Speaks OpenAI's interface and those of MindIE Service; docs/serving.md and docs/mindie.md list endpoints, fields, limits and metrics. The first line of output
names the address, once the model is loaded. SIGTERM lets answers under way end, a second one does not.
FATHOM_API_KEY in the environment is one more --api-key.)";

// Of the ranks that have no clients. mpirun sends its signals to all: rank 0 drains, these end with it.
Status follow(const EngineOptions& options) {
  for (int signal : {SIGTERM, SIGINT, SIGUSR1}) ::signal(signal, SIG_IGN);
  FATHOM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::load(options, nullptr));
  return engine->follow();
}

// Nobody would have a server not start for it.
void measure_roof(const EngineOptions& options, double seconds, std::optional<StepRoof>& roof) {
  auto measured = StepRoof::measure(options, seconds);
  if (measured.ok()) {
    roof = std::move(measured).value();
  } else {
    log_warning("the metric step_roof_share stays empty: {}", measured.status().message());
  }
}

// Nor for it: replies have none then.
std::string shown_fingerprint(const Engine& engine) {
  const Result<Json> setup = result_setup(engine);
  if (!setup.ok()) log_warning("no system_fingerprint: {}", setup.status().message());
  return setup.ok() ? fingerprint_of(engine, *setup) : std::string();
}

Status serve(const ServeFlags& flags, const EngineOptions& engine_options) {
  Communicator* ranks = engine_options.communicator;
  if (ranks != nullptr && ranks->rank() != 0) return follow(engine_options);
  FATHOM_ASSIGN_OR_RETURN(ServerOptions options, to_server_options(flags));
  options.fingerprint = shown_fingerprint;
  std::optional<StepRoof> roof;
  // What several ranks can do together is not what one of them measures.
  const double roof_seconds = ranks == nullptr ? flags.roof_seconds : 0;
  options.step_roof = [&roof](const StepWork& work) { return roof ? roof->seconds(work) : 0; };
  const auto loader = [&roof, roof_seconds, engine_options] {
    if (roof_seconds > 0) measure_roof(engine_options, roof_seconds, roof);
    ProgressBar progress;
    return Engine::load(engine_options, &progress);
  };
  const auto end_now = [ranks](int status) {
    if (ranks != nullptr) ranks->fail("it was told to end at once");
    std::_Exit(status);
  };
  return run_server(options, loader,
                    {.ready = [](const std::string& url) { print_text("fathom serves at " + url + "\n"); },
                     .end_now = end_now});
}

}  // namespace

void add_serve_command(CLI::App& app, int& exit_status) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App* command = app.add_subcommand("serve", "HTTP server with OpenAI's interface");
  command->footer(kServeExamples);
  add_serve_flags(*command, *flags);
  command->callback([flags, command, &exit_status] {
    // A server's log is of use unless told otherwise; for other commands it is not.
    if (command->get_option("--log-level")->count() == 0) spdlog::set_level(spdlog::level::info);
    const Status status =
        with_ranks(flags->engine, [&](const EngineOptions& options) { return serve(*flags, options); });
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
