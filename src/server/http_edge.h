// The HTTP edge: one thread that accepts connections, reads requests within limits and times, hands them to a
// handler and writes responses. Knows nothing of models. No client can block it, end it or make it grow
// without bound.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/app.h"
#include "server/http_message.h"
#include "server/limits.h"
#include "server/listen_socket.h"

namespace fathom {

struct EdgeOptions {
  ListenOptions listen;
  std::vector<ListenOptions> admin_listen;  // management ports: requests there are marked
  std::string certificate_file;             // PEM chain; with key_file: HTTPS, at all ports
  std::string key_file;
  std::vector<std::string> client_ca_files;  // PEM; where given, clients must show a certificate of theirs
  ServerLimits limits;
};

// All called on the thread that runs the edge.
struct EdgeCallbacks {
  std::function<std::shared_ptr<Exchange>(HttpRequest, ResponseWriter&)> handle;
  std::function<std::vector<std::pair<std::string, std::string>>(const HttpRequest&)> reply_headers;
  // The reply to a request that did not come whole, of which no more than RequestParser::target() is known.
  std::function<HttpReply(const HttpRequest&, const ApiError&)> refusal;
  std::function<void(const RequestRecord&)> record;
  // What ResponseWriter::known_since was told of took so many seconds to be sent.
  std::function<void(double seconds)> sent;
  std::function<void()> tick;    // twice a second
  std::function<void()> signal;  // SIGTERM or SIGINT came, or SIGUSR1, which mpirun hands on
};

class HttpEdge {
 public:
  // Listens at once, so that a port in use is known before a model is loaded.
  static Result<std::unique_ptr<HttpEdge>> create(const EdgeOptions& options);
  ~HttpEdge();

  // "http://127.0.0.1:8000", "unix:PATH".
  std::string url() const;
  std::string address() const;  // "127.0.0.1:8000", or the socket's path
  // The first management port's "127.0.0.1:8001"; empty: there is none.
  std::string admin_address() const;
  // All ports are reachable from this machine only.
  bool loopback() const;
  // Runs a task on the edge's thread; from any thread. What it throws is logged.
  void post(std::function<void()> task);
  // Until stop() has been called and all is closed.
  void run(EdgeCallbacks callbacks);
  // Accepts nobody any more; responses under way may end within a short time. From the edge's thread.
  void stop();

 private:
  struct Impl;
  explicit HttpEdge(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fathom
