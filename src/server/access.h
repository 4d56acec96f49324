// Who may ask: API keys, the Host header of a server on a loopback address, origins of web pages.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "server/api_error.h"
#include "server/http_message.h"

namespace fathom {

struct AccessOptions {
  std::vector<std::string> api_keys;         // none: everybody may ask
  std::vector<std::string> allowed_origins;  // "*" is any; none: pages of this server only
  // Names a Host header may have, without port; empty: any. A page elsewhere whose name is pointed at
  // 127.0.0.1 (DNS rebinding) sends its own.
  std::vector<std::string> allowed_hosts;
};

enum class Guard { kOpen, kKey };

class AccessControl {
 public:
  explicit AccessControl(const AccessOptions& options);

  // Host and Origin always, the key where the guard asks. Keys come as "Authorization: Bearer KEY" or
  // "X-API-Key: KEY" and are compared in constant time.
  std::optional<ApiError> check(const HttpRequest& request, Guard guard) const;

  // The headers that let a page of an allowed origin read the reply; none for others.
  std::vector<std::pair<std::string, std::string>> cors_headers(const HttpRequest& request) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  static Digest digest(std::string_view key);
  bool host_is_allowed(std::string_view host) const;
  bool origin_is_listed(std::string_view origin) const;
  bool key_is_known(std::string_view key) const;

  std::vector<Digest> keys_;  // SHA-256, so that all have one length
  std::vector<std::string> allowed_origins_;
  std::vector<std::string> allowed_hosts_;
};

}  // namespace fathom
