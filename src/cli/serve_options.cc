#include "cli/serve_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
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
  count("--max-prompt-tokens", limits.max_prompt_tokens, "tokens of a prompt; 0: what the context holds");
  count("--max-output-tokens", limits.max_output_tokens,
        "tokens of an answer, whatever a request asks for; 0: what the context holds");
  count("--max-prompts", limits.max_prompts, "prompts of one completion request");
  command
      .add_option("--max-reply-logprobs", limits.max_reply_logprobs,
                  "log-probabilities that a reply may hold, alternatives and choices counted")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->group(group);
  command.add_option("--max-body-size", flags.max_body_size, "bytes of a request's body")
      ->capture_default_str()
      ->group(group);
  seconds("--queue-timeout", limits.queue_timeout, "seconds a request may wait for its first step; then 504");
  seconds("--request-timeout", limits.total_timeout, "seconds a request may take in all; then 504");
  seconds("--head-timeout", limits.head_timeout, "seconds for a client to send a request's head; then 408");
  seconds("--body-timeout", limits.body_timeout, "seconds for a client to send a request's body; then 408");
  seconds("--idle-timeout", limits.idle_timeout, "seconds a connection may idle between requests");
  seconds("--write-timeout", limits.write_timeout, "seconds for a client to take what was sent");
  seconds("--ping-interval", limits.ping_interval, "seconds between comments in a silent stream; 0: none");
  seconds("--step-timeout", limits.step_timeout, "seconds without progress after which /health says 503");
}

}  // namespace

void add_serve_flags(CLI::App& command, ServeFlags& flags) {
  // The first one counts: a command line's own stands before what a file adds.
  command.add_option("MODEL,--model", flags.engine.model, "checkpoint folder")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeFirst);
  add_engine_options(command, flags.engine);
  const std::string group = "Server";
  const auto add = [&](const char* name, auto& value, const char* help) {
    return command.add_option(name, value, help)->group(group);
  };
  // One value each time they are given: what stands behind it is none.
  const auto add_several = [&](const char* name, auto& values, const char* help) {
    add(name, values, help)->allow_extra_args(false);
  };
  add("--host", flags.listen.host, "name or address to listen on")->capture_default_str();
  add("--port", flags.listen.port, "0: any free port, which the first line of output names")
      ->capture_default_str();
  add("--uds", flags.listen.unix_path, "listen on a Unix socket at this path instead");
  add_several("--admin-port", flags.admin_ports,
              "a port for management (metrics, health, stopService); may be given several times");
  add("--admin-host", flags.admin_host, "name or address it listens on")->capture_default_str();
  add("--ssl-certfile", flags.certificate_file, "certificate chain in PEM: HTTPS");
  add("--ssl-keyfile", flags.key_file, "its private key in PEM");
  add_several("--ssl-ca-certs", flags.client_ca_files,
              "authorities in PEM, one of which must have signed a client's certificate");
  add_several("--api-key", flags.access.api_keys,
              "a key that requests must show; may be given several times");
  add("--api-key-file", flags.api_key_file, "file of keys, one a line");
  add_several("--allowed-origins", flags.access.allowed_origins, "origins of web pages that may ask, or *");
  add_several("--allowed-hosts", flags.access.allowed_hosts,
              "names that requests may address; default: this machine's own on a loopback address, else any");
  add_several("--served-model-name", flags.model_names,
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
  add("--roof-seconds", flags.roof_seconds,
      "seconds to measure the machine's ceilings before the model is loaded, for the metric step_roof_share; "
      "0: "
      "without")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 60.0));
  command
      .add_flag("--stream-full-text", flags.stream_full_text,
                "streams of MindIE's protocols show all of the text so far, not what is new")
      ->group(group);
  add_limit_flags(command, flags);
}

Result<ServerOptions> to_server_options(const ServeFlags& flags) {
  ServerOptions options;
  options.edge.listen = flags.listen;
  for (uint16_t port : flags.admin_ports) {
    ListenOptions admin;
    admin.host = flags.admin_host;
    admin.port = port;
    options.edge.admin_listen.push_back(std::move(admin));
  }
  options.edge.certificate_file = flags.certificate_file;
  options.edge.key_file = flags.key_file;
  options.edge.client_ca_files = flags.client_ca_files;
  options.edge.limits = flags.limits;
  FATHOM_ASSIGN_OR_RETURN(options.edge.limits.max_body_bytes,
                          parse_size(flags.max_body_size, "--max-body-size"));
  options.app.access = flags.access;
  options.app.limits = options.edge.limits;
  options.app.metrics_prefix = flags.metrics_prefix;
  options.app.version = FATHOM_VERSION;
  if (flags.stream_full_text) options.app.stream_text = mindie::AnswerExchange::Text::kWhole;
  mindie::ServiceFacts& facts = options.app.facts;
  facts.version = FATHOM_VERSION;
  FATHOM_ASSIGN_OR_RETURN(const uint64_t step_tokens,
                          parse_size(flags.engine.max_num_batched_tokens, "--max-num-batched-tokens"));
  facts.max_prefill_tokens = static_cast<int64_t>(step_tokens);
  if (flags.engine.max_prefill_tokens > 0)
    facts.max_prefill_tokens = std::min(facts.max_prefill_tokens, flags.engine.max_prefill_tokens);
  facts.max_prefill_seqs =
      flags.engine.max_prefill_seqs > 0 ? flags.engine.max_prefill_seqs : flags.engine.max_num_seqs;
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
