#include "cli/url_flags.h"

#include <CLI/CLI.hpp>
#include <cstdlib>

namespace fathom {
namespace {

std::string key_of_environment() {
  for (const char* name : {"FATHOM_API_KEY", "OPENAI_API_KEY"}) {
    if (const char* key = std::getenv(name); key != nullptr && *key != '\0') return key;
  }
  return {};
}

}  // namespace

CLI::Option* add_url_flags(CLI::App& command, UrlFlags& flags) {
  const std::string group = kServerGroup;
  CLI::Option* url =
      command
          .add_option("--url", flags.url, "http://HOST:PORT, https://.. or unix:/PATH of a running server")
          ->group(group);
  command.add_option("--model", flags.model, "what the server calls the model; default: its first")
      ->group(group);
  command
      .add_option("--api-key", flags.api_key, "default: FATHOM_API_KEY or OPENAI_API_KEY of the environment")
      ->group(group);
  command
      .add_option("--cacert", flags.ca_file, "PEM file of the authorities to trust; default: the system's")
      ->group(group);
  command.add_flag("--insecure", flags.insecure, "do not check the server's certificate")->group(group);
  command.add_option("--timeout", flags.timeout, "seconds in which the server may be silent")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 1e6))
      ->group(group);
  return url;
}

Result<std::unique_ptr<HttpClient>> make_client(const UrlFlags& flags) {
  HttpClientOptions options;
  const Result<Url> url = parse_url(flags.url);
  if (!url.ok()) return url.status().with_context("--url");
  options.url = *url;
  options.api_key = flags.api_key.empty() ? key_of_environment() : flags.api_key;
  options.ca_file = flags.ca_file;
  if (flags.insecure) options.tls_check = TlsCheck::kSkip;
  options.silence_timeout = flags.timeout;
  return HttpClient::create(std::move(options));
}

}  // namespace fathom
