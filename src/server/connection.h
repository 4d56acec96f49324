// One connection of the HTTP edge, and the state that connections share. For http_edge.cc and connection.cc
// only: it is the one header that knows Boost.
#pragma once

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "base/clock.h"
#include "server/http_edge.h"
#include "server/request_parser.h"

namespace fathom {

namespace asio = boost::asio;
using SocketError = boost::system::error_code;
constexpr auto kWithError = asio::as_tuple(asio::use_awaitable);
constexpr double kNever = 1e300;

class Connection;

struct EdgeState {
  EdgeOptions options;
  asio::io_context io{1};
  std::optional<asio::ssl::context> tls;
  EdgeCallbacks callbacks;
  std::unordered_set<Connection*> connections;
  // Shared with the counted bodies, the last of which may outlive this.
  std::shared_ptr<std::atomic<size_t>> pending_body_bytes = std::make_shared<std::atomic<size_t>>(0);
  uint64_t turn = 0;    // tasks that were posted, so far
  uint64_t id_key = 0;  // of generated request ids
  uint64_t id_counter = 0;

  std::string new_request_id();
};

// One client. Two coroutines: the reader takes bytes in all the time, so that a client that leaves is noticed
// at once; the other serves one request after the other. Both keep the connection alive.
class Connection : public ResponseWriter, public std::enable_shared_from_this<Connection> {
 public:
  using Socket = asio::generic::stream_protocol::socket;

  // admin: of a management port.
  Connection(EdgeState& edge, Socket socket, bool admin);
  ~Connection() override { edge_.connections.erase(this); }

  asio::awaitable<void> run();
  void check_deadline(double now);
  void stop();  // after the response under way
  void close();
  // The end of one of its coroutines: closes where that is an exception.
  void end_after(const std::exception_ptr& error);

  void reply(HttpReply reply) override;
  void begin_stream(HttpReply head) override;
  void write(std::string_view bytes) override;
  void send_now() override;
  void end_stream() override;
  void known_since(double time) override;

 private:
  enum class Phase { kIdle, kReceiving, kResponding, kWriting };

  Socket& socket() { return tls_ ? tls_->next_layer() : *plain_; }
  void set_phase(Phase phase, double seconds) {
    phase_ = phase;
    deadline_ = monotonic_seconds() + seconds;
  }
  void wake() { signal_.cancel(); }
  asio::awaitable<void> wait(double until);
  asio::awaitable<void> read();
  asio::awaitable<bool> flush();
  asio::awaitable<bool> receive(RequestParser& parser);
  asio::awaitable<bool> serve_one();
  asio::awaitable<void> respond(HttpRequest request);
  asio::awaitable<void> linger();
  void begin_response(const HttpRequest& request);
  void refuse(const RequestParser& parser, const ApiError& error);
  void start_head(const HttpReply& head);
  void count_sent(double known_since);
  bool count_body(size_t bytes);
  std::shared_ptr<void> hand_over_count();

  EdgeState& edge_;
  std::optional<Socket> plain_;
  std::optional<asio::ssl::stream<Socket>> tls_;
  std::string client_;
  const bool admin_;
  asio::steady_timer signal_;       // wakes the serving coroutine
  asio::steady_timer reader_gate_;  // holds the reader back while the input is full
  std::string input_;
  std::string output_;
  std::string writing_;     // by flush(), which has been told to write it and waits
  uint64_t turn_ = 0;       // of edge_, in which output_ was last written to
  size_t waiting_ = 0;      // bytes of output_ that were there before that turn
  double last_sent_ = 0;    // monotonic seconds
  double known_since_ = 0;  // of something in output_; 0: not to be measured
  Phase phase_ = Phase::kReceiving;
  double deadline_ = kNever;
  size_t counted_body_bytes_ = 0;
  bool client_gone_ = false;  // nothing more will be read
  bool closed_ = false;
  bool timed_out_ = false;
  bool discards_input_ = false;
  bool stopping_ = false;
  bool keep_alive_ = true;

  // Of the response under way.
  std::shared_ptr<Exchange> exchange_;
  std::vector<std::pair<std::string, std::string>> reply_headers_;
  bool head_only_ = false;
  bool http_1_0_ = false;
  bool streaming_ = false;
  bool takes_pings_ = false;  // a stream of events, in which comments mean nothing
  bool ended_ = false;
  int status_ = 0;
};

}  // namespace fathom
