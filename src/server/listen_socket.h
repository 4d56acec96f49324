// Sockets that listen: TCP on one address, or a Unix socket.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace fathom {

struct ListenOptions {
  std::string host = "127.0.0.1";  // a name or address
  uint16_t port = 8000;            // 0: any free one
  std::string unix_path;           // where set, instead of host and port
};

struct ListenSocket {
  int descriptor = -1;  // the caller's to close
  int family = 0;
  int protocol = 0;
  std::string address;    // "127.0.0.1:8000", "[::1]:8000" or the path
  bool loopback = false;  // reachable from this machine only
};

// A stale Unix socket, which nobody listens on, is replaced; any other file at its path is refused.
Result<ListenSocket> open_listen_socket(const ListenOptions& options);
// Removes a Unix socket; leaves whatever else is at the path.
void remove_socket(const std::string& path);

// The other end of a connection, without its port; "unix" for a Unix socket.
std::string peer_address(int descriptor);

// Small writes go out at once; nothing for a Unix socket.
void set_no_delay(int descriptor);

}  // namespace fathom
