#include "server/access.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

namespace fathom {
namespace {

// "[::1]:80" -> "::1", "localhost:8000" -> "localhost".
std::string host_name(std::string_view host) {
  if (host.starts_with('[')) return ascii_lower(host.substr(1, host.find(']') - 1));
  return ascii_lower(host.substr(0, host.find(':')));
}

std::string_view bearer_of(const HttpRequest& request) {
  const std::string_view value = request.header("authorization");
  constexpr std::string_view kScheme = "bearer ";
  if (value.size() <= kScheme.size() || ascii_lower(value.substr(0, kScheme.size())) != kScheme) return {};
  return value.substr(kScheme.size());
}

}  // namespace

AccessControl::AccessControl(const AccessOptions& options) : allowed_origins_(options.allowed_origins) {
  for (const std::string& key : options.api_keys) keys_.push_back(digest(key));
  for (const std::string& host : options.allowed_hosts) allowed_hosts_.push_back(ascii_lower(host));
}

AccessControl::Digest AccessControl::digest(std::string_view key) {
  Digest out;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), out.data());
  return out;
}

bool AccessControl::key_is_known(std::string_view key) const {
  const Digest given = digest(key);
  bool known = false;
  for (const Digest& wanted : keys_) known |= CRYPTO_memcmp(given.data(), wanted.data(), given.size()) == 0;
  return known;
}

bool AccessControl::host_is_allowed(std::string_view host) const {
  return allowed_hosts_.empty() ||
         std::find(allowed_hosts_.begin(), allowed_hosts_.end(), host_name(host)) != allowed_hosts_.end();
}

bool AccessControl::origin_is_listed(std::string_view origin) const {
  return std::any_of(allowed_origins_.begin(), allowed_origins_.end(),
                     [origin](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

std::optional<ApiError> AccessControl::check(const HttpRequest& request, Guard guard) const {
  const std::string_view host = request.header("host");
  if (host.empty() && !request.http_1_0) return bad_request("", "the Host header is missing");
  if (!host.empty() && !host_is_allowed(host)) {
    return ApiError{.status = 403,
                    .message = "this server does not answer to that Host (--allowed-hosts)",
                    .code = "host_not_allowed"};
  }
  // Browsers send Origin with every POST: those of other pages must not reach a server in their user's
  // network.
  const std::string_view origin = request.header("origin");
  const size_t scheme = origin.find("://");
  const bool own = scheme != std::string_view::npos && origin.substr(scheme + 3) == host;
  if (request.method == "POST" && !origin.empty() && !own && !origin_is_listed(origin)) {
    return ApiError{.status = 403,
                    .message = "pages of that Origin may not ask this server (--allowed-origins)",
                    .code = "origin_not_allowed"};
  }
  if (guard == Guard::kOpen || keys_.empty()) return std::nullopt;
  std::string_view key = bearer_of(request);
  if (key.empty()) key = request.header("x-api-key");
  if (key_is_known(key)) return std::nullopt;
  return ApiError{
      .status = 401,
      .message = key.empty() ? "an API key is needed: Authorization: Bearer KEY" : "the API key is not valid",
      .code = "invalid_api_key"};
}

std::vector<std::pair<std::string, std::string>> AccessControl::cors_headers(
    const HttpRequest& request) const {
  const std::string origin(request.header("origin"));
  if (origin.empty() || !origin_is_listed(origin)) return {};
  return {{"Access-Control-Allow-Origin", origin},
          {"Access-Control-Expose-Headers", "X-Request-Id, Retry-After"},
          {"Vary", "Origin"}};
}

}  // namespace fathom
