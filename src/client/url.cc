#include "client/url.h"

#include <algorithm>
#include <charconv>

namespace fathom {
namespace {

constexpr uint16_t kHttpPort = 80, kHttpsPort = 443;

Result<uint16_t> parse_port(std::string_view digits, std::string_view url) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port == 0) {
    return invalid_argument("{}: \"{}\" is no port from 1 to 65535", url, digits);
  }
  return port;
}

// "host", "host:port", "[::1]:port" into url, whose scheme is known.
Status parse_authority(std::string_view authority, std::string_view text, Url& url) {
  std::string_view rest;
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return invalid_argument("{}: the address has no closing ]", text);
    url.host = authority.substr(1, close - 1);
    rest = authority.substr(close + 1);
  } else {
    const size_t colon = authority.find(':');
    url.host = authority.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : authority.substr(colon);
  }
  if (url.host.empty()) return invalid_argument("{}: has no host (example: http://127.0.0.1:8000)", text);
  url.port = url.scheme == Url::Scheme::kHttps ? kHttpsPort : kHttpPort;
  if (rest.empty()) return ok_status();
  if (rest[0] != ':') return invalid_argument("{}: \"{}\" after the address is no port", text, rest);
  FATHOM_ASSIGN_OR_RETURN(url.port, parse_port(rest.substr(1), text));
  return ok_status();
}

}  // namespace

std::string Url::host_header() const {
  if (scheme == Scheme::kUnix) return "localhost";
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  const bool usual = port == (scheme == Scheme::kHttps ? kHttpsPort : kHttpPort);
  return usual ? name : fmt::format("{}:{}", name, port);
}

std::string Url::text() const {
  if (scheme == Scheme::kUnix) return "unix:" + base_path;
  return (scheme == Scheme::kHttps ? "https://" : "http://") + host_header() + base_path;
}

Result<Url> parse_url(std::string_view text) {
  const bool printable =
      std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; });
  if (text.empty() || !printable) {
    return invalid_argument("the URL is empty, or has blanks or characters that a URL writes as %XX");
  }
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("unix:")) {
    rest.remove_prefix(5);
    if (rest.starts_with("//")) rest.remove_prefix(2);
    if (rest.empty()) return invalid_argument("{}: has no path", text);
    url.scheme = Url::Scheme::kUnix;
    url.base_path = rest;
    return url;
  }
  if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
    const std::string_view name = rest.substr(0, scheme);
    if (name != "http" && name != "https") {
      return invalid_argument("\"{}\" is no scheme of a server: http://, https:// and unix: are", name);
    }
    if (name == "https") url.scheme = Url::Scheme::kHttps;
    rest.remove_prefix(scheme + 3);
  }
  const size_t slash = rest.find('/');
  const std::string_view authority = rest.substr(0, slash);
  if (authority.find('@') != std::string_view::npos) {
    return invalid_argument("the URL holds a name or password before an @: keys come by --api-key");
  }
  if (rest.find_first_of("?#") != std::string_view::npos)
    return invalid_argument("{}: ? and # have no place here", text);
  FATHOM_RETURN_IF_ERROR(parse_authority(authority, text, url));
  std::string_view path = slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path == "/v1" || path.ends_with("/v1")) path.remove_suffix(3);
  url.base_path = path;
  return url;
}

}  // namespace fathom
