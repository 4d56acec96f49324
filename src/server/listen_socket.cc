#include "server/listen_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace fathom {
namespace {

constexpr int kBacklog = 1024;

Status system_error(const std::string& what) { return io_error("{}: {}", what, std::strerror(errno)); }

std::string numeric_host(const sockaddr* address, socklen_t length) {
  char host[NI_MAXHOST];
  return ::getnameinfo(address, length, host, sizeof host, nullptr, 0, NI_NUMERICHOST) == 0 ? host
                                                                                            : "unknown";
}

uint16_t port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

bool is_loopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
  return (ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24) == 127;
}

Result<ListenSocket> listen_tcp(const ListenOptions& options) {
  const std::string wanted = fmt::format("{}:{}", options.host, options.port);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(options.host.c_str(), std::to_string(options.port).c_str(), &hints, &found);
  if (error != 0) return invalid_argument("--host: {}: {}", options.host, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> guard(found, ::freeaddrinfo);
  const int descriptor = ::socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  if (descriptor < 0) return system_error(wanted);
  const int on = 1;
  ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage bound = {};
  socklen_t length = sizeof bound;
  if (::bind(descriptor, found->ai_addr, found->ai_addrlen) != 0 || ::listen(descriptor, kBacklog) != 0 ||
      ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    const Status status = system_error("cannot listen on " + wanted);
    ::close(descriptor);
    return status;
  }
  const std::string host = numeric_host(reinterpret_cast<sockaddr*>(&bound), length);
  return ListenSocket{.descriptor = descriptor,
                      .family = found->ai_family,
                      .protocol = found->ai_protocol,
                      .address = found->ai_family == AF_INET6 ? fmt::format("[{}]:{}", host, port_of(bound))
                                                              : fmt::format("{}:{}", host, port_of(bound)),
                      .loopback = is_loopback(bound)};
}

bool is_socket(const std::string& path) {
  struct stat entry = {};
  return ::lstat(path.c_str(), &entry) == 0 && S_ISSOCK(entry.st_mode);
}

// Of a socket: a connection to any other file is refused too.
bool nobody_listens(const sockaddr_un& address) {
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return false;
  const bool refused =
      ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno == ECONNREFUSED;
  ::close(descriptor);
  return refused;
}

Result<ListenSocket> listen_unix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return invalid_argument("--uds: the path has {} bytes, the system's limit is {}", path.size(),
                            sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return system_error(path);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  int bound = ::bind(descriptor, generic, sizeof address);
  if (bound != 0 && errno == EADDRINUSE) {
    if (!is_socket(path)) {
      ::close(descriptor);
      return invalid_argument("--uds: {} is there already and is not a socket", path);
    }
    if (nobody_listens(address)) {
      ::unlink(path.c_str());
      bound = ::bind(descriptor, generic, sizeof address);
    }
  }
  if (bound != 0 || ::listen(descriptor, kBacklog) != 0) {
    const Status status = system_error("cannot listen on " + path);
    ::close(descriptor);
    return status;
  }
  return ListenSocket{
      .descriptor = descriptor, .family = AF_UNIX, .protocol = 0, .address = path, .loopback = true};
}

}  // namespace

Result<ListenSocket> open_listen_socket(const ListenOptions& options) {
  return options.unix_path.empty() ? listen_tcp(options) : listen_unix(options.unix_path);
}

void remove_socket(const std::string& path) {
  if (is_socket(path)) ::unlink(path.c_str());
}

std::string peer_address(int descriptor) {
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &length) != 0) return "unknown";
  if (address.ss_family == AF_UNIX) return "unix";
  return numeric_host(reinterpret_cast<sockaddr*>(&address), length);
}

void set_no_delay(int descriptor) {
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace fathom
