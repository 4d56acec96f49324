// The options of `fathom serve`, and how they become ServerOptions.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "cli/engine_options.h"
#include "server/server.h"

namespace fathom {

struct ServeFlags {
  EngineFlags engine;
  ListenOptions listen;
  std::vector<uint16_t> admin_ports;
  std::string admin_host = "127.0.0.1";
  std::string certificate_file;
  std::string key_file;
  std::vector<std::string> client_ca_files;
  AccessOptions access;
  std::string api_key_file;
  std::vector<std::string> model_names;
  std::string sampling_defaults = "model";
  std::string metrics_prefix = "fathom";
  double shutdown_timeout = 30;
  double roof_seconds = 0.5;
  bool stream_full_text = false;
  ServerLimits limits;
  std::string max_body_size = "32M";
};

// flags must outlive the parse.
void add_serve_flags(CLI::App& command, ServeFlags& flags);

// Reads the key file and FATHOM_API_KEY. Errors name the option, the value and what is allowed.
Result<ServerOptions> to_server_options(const ServeFlags& flags);

}  // namespace fathom
