// The options every command that talks to a server shares, and how they become a client.
#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <string>

#include "client/http_client.h"

namespace fathom {

struct UrlFlags {
  std::string url;
  std::string model;  // as the server calls it; empty for its first
  std::string api_key;
  std::string ca_file;
  bool insecure = false;
  double timeout = HttpClientOptions().silence_timeout;
};

// The heading of these options in --help.
inline constexpr const char* kServerGroup = "Server";

// Returns --url. flags must outlive the parse.
CLI::Option* add_url_flags(CLI::App& command, UrlFlags& flags);

// Without --api-key the key is FATHOM_API_KEY or OPENAI_API_KEY of the environment, if there is one.
Result<std::unique_ptr<HttpClient>> make_client(const UrlFlags& flags);

}  // namespace fathom
