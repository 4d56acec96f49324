#include "cli/serve_options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "base/file.h"
#include "cli/console.h"

namespace fathom {
namespace {

constexpr double kMaxSeconds = 1e9;

// Lines of a file, without white space around them; empty lines and those that begin with # are skipped.
Status add_keys_of_file(const std::string& path, std::vector<std::string>& keys) {
  FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(path, size_t{1} << 20));
  const size_t before = keys.size();
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    std::string_view line(content.data() + begin, end - begin);
    begin = end + 1;
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos || line[first] == '#') continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
    keys.emplace_back(line);
  }
  // A file meant to close the server must not leave it open.
  if (keys.size() == before) return invalid_data("{}: holds no API key", path);
  return ok_status();
}

// "models/demo/" -> "demo".
std::string base_name(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const size_t slash = path.rfind('/');
  return slash == std::string::npos || slash + 1 == path.size() ? path : path.substr(slash + 1);
}

void add_limit_flags(CLI::App& command, ServeFlags& flags) {
  const std::string group = "Limits";
  ServerLimits& limits = flags.limits;
  const auto count = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->check(CLI::Range(0, 1 << 20))->group(group);
  };
  const auto seconds = [&](const char* name, double& value, const char* help) {
    command.add_option(name, value, help)
        ->capture_default_str()
        ->check(CLI::Range(0.0, kMaxSeconds))
        ->group(group);
  };
  count("--max-queue", limits.max_queue, "sequences that may wait beyond --max-num-seqs; then 429");
  count("--max-connections", limits.max_connections, "open connections");
  count("--max-choices", limits.max_choices, "n of a request");
  count("--max-prompts", limits.max_prompts, "prompts of one completion request");
  command.add_option("--max-body-size", flags.max_body_size, "bytes of a request's body")
      ->capture_default_str()
      ->group(group);
  seconds("--queue-timeout", limits.queue_timeout, "seconds a request may wait for its first step; then 504");
  seconds("--request-timeout", limits.total_timeout, "seconds a request may take in all; then 504");
  seconds("--head-timeout", limits.head_timeout, "seconds for a client to send a request's head; then 408");
  seconds("--body-timeout", limits.body_timeout, "seconds for a client to send a request's body; then 408");
  seconds("--idle-timeout", limits.idle_timeout, "seconds a connection may idle between requests");
  seconds("--write-timeout", limits.write_timeout, "seconds for a client to take what was sent");
  seconds("--ping-interval", limits.ping_interval, "seconds between comments in a silent stream");
  seconds("--step-timeout", limits.step_timeout, "seconds without progress after which /health says 503");
}

}  // namespace

void add_serve_flags(CLI::App& command, ServeFlags& flags) {
  add_engine_flags(command, flags.engine);
  const std::string group = "Server";
  const auto add = [&](const char* name, auto& value, const char* help) {
    return command.add_option(name, value, help)->group(group);
  };
  add("--host", flags.listen.host, "name or address to listen on")->capture_default_str();
  add("--port", flags.listen.port, "0: any free port, which the first line of output names")
      ->capture_default_str();
  add("--uds", flags.listen.unix_path, "listen on a Unix socket at this path instead");
  add("--ssl-certfile", flags.certificate_file, "certificate chain in PEM: HTTPS");
  add("--ssl-keyfile", flags.key_file, "its private key in PEM");
  add("--api-key", flags.access.api_keys, "a key that requests must show; may be given several times");
  add("--api-key-file", flags.api_key_file, "file of keys, one a line");
  add("--allowed-origins", flags.access.allowed_origins, "origins of web pages that may ask, or *");
  add("--allowed-hosts", flags.access.allowed_hosts,
      "names that requests may address; default: this machine's own on a loopback address, else any");
  add("--served-model-name", flags.model_names,
      "what requests may call the model; default: the folder's name");
  add("--sampling-defaults", flags.sampling_defaults,
      "model: generation_config.json's, openai: temperature 1, top_p 1")
      ->capture_default_str()
      ->check(CLI::IsMember({"model", "openai"}));
  add("--metrics-prefix", flags.metrics_prefix, "first part of metric names; vllm fits its dashboards")
      ->capture_default_str();
  add("--shutdown-timeout", flags.shutdown_timeout, "seconds for answers under way after SIGTERM")
      ->capture_default_str()
      ->check(CLI::Range(0.0, kMaxSeconds));
  add_limit_flags(command, flags);
}

Result<ServerOptions> to_server_options(const ServeFlags& flags) {
  ServerOptions options;
  options.edge = {.listen = flags.listen,
                  .certificate_file = flags.certificate_file,
                  .key_file = flags.key_file,
                  .limits = flags.limits};
  FATHOM_ASSIGN_OR_RETURN(options.edge.limits.max_body_bytes,
                          parse_size(flags.max_body_size, "--max-body-size"));
  options.app = {.access = flags.access,
                 .limits = options.edge.limits,
                 .metrics_prefix = flags.metrics_prefix,
                 .version = FATHOM_VERSION};
  std::vector<std::string>& keys = options.app.access.api_keys;
  if (!flags.api_key_file.empty()) FATHOM_RETURN_IF_ERROR(add_keys_of_file(flags.api_key_file, keys));
  if (const char* key = std::getenv("FATHOM_API_KEY"); key != nullptr && *key != '\0') keys.emplace_back(key);
  for (const std::string& key : keys) {
    if (key.empty()) return invalid_argument("--api-key: a key must not be empty");
  }
  options.model_dir = flags.engine.model;
  options.model_names = flags.model_names;
  if (options.model_names.empty()) options.model_names = {base_name(flags.engine.model), flags.engine.model};
  options.sampling_defaults =
      flags.sampling_defaults == "model" ? SamplingDefaults::kModel : SamplingDefaults::kNeutral;
  options.max_num_seqs = flags.engine.max_num_seqs;
  options.block_size = flags.engine.block_size;
  options.shutdown_timeout = flags.shutdown_timeout;
  return options;
}

}  // namespace fathom
