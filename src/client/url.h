// Where a server is: http://host:port/path, https://.., or unix:/path of a socket, as `fathom serve` prints
// it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom {

struct Url {
  enum class Scheme { kHttp, kHttps, kUnix };
  Scheme scheme = Scheme::kHttp;
  std::string host;       // a name or an address, IPv6 without brackets; empty for a Unix socket
  uint16_t port = 0;      // 0 for a Unix socket
  std::string base_path;  // what comes before "/v1/..", without a slash at its end; or the socket's path

  // What the Host header says: without the scheme's usual port, IPv6 in brackets.
  std::string host_header() const;
  // For people.
  std::string text() const;
};

// A missing scheme is http. A "/v1" at the end, as other clients want it, is taken off. Errors name the text,
// save where it may hold a password.
Result<Url> parse_url(std::string_view text);

}  // namespace fathom
