// `fathom serve` as a whole: an engine on its thread, the HTTP edge on this one, and their common life from
// loading to the last answer.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/app.h"
#include "server/engine_thread.h"
#include "server/http_edge.h"

namespace fathom {

struct ServerOptions {
  EdgeOptions edge;
  AppOptions app;
  std::string model_dir;
  std::vector<std::string> model_names;  // at least one
  SamplingDefaults sampling_defaults = SamplingDefaults::kModel;
  int64_t max_num_seqs = 64;  // the engine's
  int64_t block_size = 128;   // the engine's
  double shutdown_timeout = 30;
  // ServedModel's, of the loaded model; may be empty. Called once, on the engine's thread.
  std::function<std::string(const Engine&)> fingerprint = {};
  // The least seconds that a step can take on this machine, 0 where that is not known; may be empty. Called
  // once the model is loaded.
  std::function<double(const StepWork&)> step_roof = {};
};

struct ServerCallbacks {
  std::function<void(const std::string& url)> ready;  // the model is loaded
  // A second signal, or one while the model loads: end the process now, with this exit status.
  std::function<void(int status)> end_now;
};

// Serves until SIGTERM or SIGINT; ok after a drain. Fails where it cannot listen, where loading fails, and
// where the engine fails later.
Status run_server(const ServerOptions& options, EngineThread::Loader loader,
                  const ServerCallbacks& callbacks);

}  // namespace fathom
