#include "server/connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/status.hpp>
#include <chrono>

#include "base/log.h"
#include "base/random.h"
#include "server/sse.h"

namespace fathom {
namespace {

constexpr size_t kReadBytes = 8192;
// More than a request's head, so that a full buffer always holds something to take.
constexpr size_t kMaxInputBytes = size_t{64} << 10;
constexpr double kLingerSeconds = 2;  // for a client to read an error before its connection is reset

std::string_view reason_of(int status) {
  const auto reason = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  return {reason.data(), reason.size()};
}

bool is_request_id(std::string_view id) {
  constexpr size_t kMaxBytes = 128;
  return !id.empty() && id.size() <= kMaxBytes && std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
}

}  // namespace

std::string EdgeState::new_request_id() {
  ++id_counter;
  return fmt::format("{:016x}{:016x}", random_bits(id_key, id_counter), random_bits(~id_key, id_counter));
}

Connection::Connection(EdgeState& edge, Socket socket, bool admin)
    : edge_(edge), admin_(admin), signal_(edge.io), reader_gate_(edge.io) {
  client_ = peer_address(socket.native_handle());
  set_no_delay(socket.native_handle());
  if (edge.tls) {
    tls_.emplace(std::move(socket), *edge.tls);
  } else {
    plain_.emplace(std::move(socket));
    SocketError ignored;  // send_now() would then wait
    plain_->non_blocking(true, ignored);
  }
  edge_.connections.insert(this);
}

// wake() before the timer runs is not lost: the caller has looked at the state just before, on this thread.
asio::awaitable<void> Connection::wait(double until) {
  const double seconds = std::min(until - monotonic_seconds(), 1e6);
  signal_.expires_after(std::chrono::microseconds(static_cast<int64_t>(std::max(seconds, 0.0) * 1e6)));
  co_await signal_.async_wait(kWithError);
}

asio::awaitable<void> Connection::read() {
  std::array<char, kReadBytes> buffer;
  const auto self = shared_from_this();
  while (!closed_) {
    while (input_.size() >= kMaxInputBytes && !closed_) {
      reader_gate_.expires_after(std::chrono::hours(1));
      co_await reader_gate_.async_wait(kWithError);
    }
    if (closed_) break;
    SocketError error;
    size_t count = 0;
    if (tls_) {
      std::tie(error, count) = co_await tls_->async_read_some(asio::buffer(buffer), kWithError);
    } else {
      std::tie(error, count) = co_await plain_->async_read_some(asio::buffer(buffer), kWithError);
    }
    if (error) break;
    if (!discards_input_) input_.append(buffer.data(), count);
    wake();
  }
  client_gone_ = true;
  wake();
}

// Writes what has been put out. False: the client does not take it.
asio::awaitable<bool> Connection::flush() {
  while (!output_.empty() && !closed_) {
    std::swap(writing_, output_);
    waiting_ = 0;
    const double known_since = std::exchange(known_since_, 0);
    set_phase(Phase::kWriting, edge_.options.limits.write_timeout);
    SocketError error;
    size_t count = 0;
    if (tls_) {
      std::tie(error, count) = co_await asio::async_write(*tls_, asio::buffer(writing_), kWithError);
    } else {
      std::tie(error, count) = co_await asio::async_write(*plain_, asio::buffer(writing_), kWithError);
    }
    writing_.clear();
    set_phase(Phase::kResponding, kNever);
    if (error) {
      close();
    } else {
      count_sent(known_since);
    }
  }
  co_return !closed_;
}

void Connection::count_sent(double known_since) {
  last_sent_ = monotonic_seconds();
  if (known_since > 0) edge_.callbacks.sent(last_sent_ - known_since);
}

// The bodies being received or waiting to be parsed, over all connections, have a bound too.
bool Connection::count_body(size_t bytes) {
  *edge_.pending_body_bytes += bytes - counted_body_bytes_;
  counted_body_bytes_ = bytes;
  return *edge_.pending_body_bytes <= edge_.options.limits.max_pending_body_bytes;
}

// A body that has arrived counts until whoever has it lets go.
std::shared_ptr<void> Connection::hand_over_count() {
  const size_t bytes = std::exchange(counted_body_bytes_, 0);
  if (bytes == 0) return nullptr;
  return {nullptr, [all = edge_.pending_body_bytes, bytes](void*) { *all -= bytes; }};
}

// One request into the parser. False: the connection is over; what there was to say has been put out.
asio::awaitable<bool> Connection::receive(RequestParser& parser) {
  const ServerLimits& limits = edge_.options.limits;
  bool head_begun = false;
  while (true) {
    if (!input_.empty() && !head_begun) {
      head_begun = true;
      set_phase(Phase::kReceiving, limits.head_timeout);
    }
    const auto before = parser.state();
    const size_t used = parser.feed(input_);
    input_.erase(0, used);
    reader_gate_.cancel();
    if (parser.state() == RequestParser::State::kFailed) {
      refuse(parser, parser.error());
      co_return false;
    }
    if (!count_body(parser.body_bytes())) {
      refuse(parser, {.status = 503, .message = "the server receives too much at once"});
      co_return false;
    }
    if (parser.state() == RequestParser::State::kDone) co_return true;
    if (before == RequestParser::State::kHead && parser.state() == RequestParser::State::kBody) {
      set_phase(Phase::kReceiving, limits.body_timeout);
      if (parser.expects_continue() && input_.empty()) {
        output_ += "HTTP/1.1 100 Continue\r\n\r\n";
        const bool written = co_await flush();
        if (!written) co_return false;
        set_phase(Phase::kReceiving, limits.body_timeout);
      }
    }
    if (timed_out_) {
      refuse(parser,
             {.status = 408, .message = "the request took too long to arrive", .code = "request_timeout"});
      co_return false;
    }
    if (client_gone_ || closed_ || (stopping_ && !head_begun)) co_return false;
    if (used == 0) co_await wait(kNever);
  }
}

void Connection::begin_response(const HttpRequest& request) {
  keep_alive_ = request.keep_alive;
  head_only_ = request.method == "HEAD";
  http_1_0_ = request.http_1_0;
  reply_headers_ = edge_.callbacks.reply_headers(request);
  reply_headers_.emplace_back("X-Request-Id", request.id);
  streaming_ = false;
  ended_ = false;
  status_ = 0;
}

// A request that could not be read: its connection cannot go on.
void Connection::refuse(const RequestParser& parser, const ApiError& error) {
  HttpRequest request = parser.target();
  request.keep_alive = false;
  request.id = edge_.new_request_id();
  begin_response(request);
  reply(edge_.callbacks.refusal(request, error));
  edge_.callbacks.record({.method = request.method,
                          .path = request.path,
                          .id = request.id,
                          .client = client_,
                          .status = error.status,
                          .note = " (" + error.message + ")"});
}

void Connection::start_head(const HttpReply& head) {
  status_ = head.status;
  if (stopping_) keep_alive_ = false;
  output_ += fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nX-Content-Type-Options: nosniff\r\n",
                         head.status, reason_of(head.status), head.content_type);
  using Headers = std::vector<std::pair<std::string, std::string>>;
  for (const Headers* headers : {&head.headers, static_cast<const Headers*>(&reply_headers_)}) {
    for (const auto& [name, value] : *headers) output_ += fmt::format("{}: {}\r\n", name, value);
  }
  if (!keep_alive_) output_ += "Connection: close\r\n";
  if (keep_alive_ && http_1_0_) output_ += "Connection: keep-alive\r\n";
}

void Connection::reply(HttpReply reply) {
  constexpr size_t kHeadBytes = 4096;                                // more than any
  output_.reserve(output_.size() + kHeadBytes + reply.body.size());  // before anything has been said
  start_head(reply);
  if (reply.status != 204) output_ += fmt::format("Content-Length: {}\r\n", reply.body.size());
  output_ += "\r\n";
  if (!head_only_ && reply.status != 204) output_ += reply.body;
  ended_ = true;
  wake();
}

// HTTP/1.0 has no chunks: there the connection's end is the body's.
void Connection::begin_stream(HttpReply head) {
  if (http_1_0_) keep_alive_ = false;
  start_head(head);
  output_ += http_1_0_ ? "\r\n" : "Transfer-Encoding: chunked\r\n\r\n";
  streaming_ = true;
  takes_pings_ = head.content_type.starts_with("text/event-stream");
  last_sent_ = monotonic_seconds();
  if (!head.body.empty()) write(head.body);
  wake();
}

void Connection::write(std::string_view bytes) {
  if (closed_ || bytes.empty()) return;
  if (turn_ != edge_.turn) {
    turn_ = edge_.turn;
    waiting_ = output_.size();
  }
  // Not what this turn has put out, however much: of that the client could not take anything yet.
  if (!writing_.empty() && waiting_ > edge_.options.limits.max_stream_buffer_bytes) {
    log_info("{}: too slow for its stream: {} bytes wait, the connection is closed", client_, waiting_);
    return close();
  }
  if (http_1_0_) {
    output_ += bytes;
  } else {
    fmt::format_to(std::back_inserter(output_), "{:x}\r\n", bytes.size());
    output_.append(bytes).append("\r\n");
  }
}

// Without a turn of the loop, in which every other stream's piece would come first.
void Connection::send_now() {
  if (closed_ || output_.empty() || !writing_.empty()) return;
  if (tls_) return wake();
  SocketError error;
  const size_t count = plain_->send(asio::buffer(output_), 0, error);
  if (error && error != asio::error::would_block) return close();
  output_.erase(0, count);
  waiting_ -= std::min(waiting_, count);
  if (!output_.empty()) return wake();
  count_sent(std::exchange(known_since_, 0));
}

void Connection::end_stream() {
  if (!http_1_0_ && !closed_) output_ += "0\r\n\r\n";
  ended_ = true;
  wake();
}

void Connection::known_since(double time) {
  if (!output_.empty()) known_since_ = time;
}

// Hands the request over and writes what comes, until the response or the client's patience ends.
asio::awaitable<void> Connection::respond(HttpRequest request) {
  const double started = monotonic_seconds();
  RequestRecord record{.method = request.method, .path = request.path, .id = request.id, .client = client_};
  begin_response(request);
  set_phase(Phase::kResponding, kNever);
  try {
    exchange_ = edge_.callbacks.handle(std::move(request), *this);
  } catch (const std::exception& error) {
    log_warning("{}: unexpected failure of a library: {}", record.id, error.what());
    if (status_ == 0) reply(error_reply(unexpected_failure()));
    ended_ = true;
  }
  while (true) {
    if (!output_.empty()) {
      const bool written = co_await flush();
      if (!written) break;
      continue;
    }
    if (ended_ || client_gone_ || closed_) break;
    const double ping_interval = edge_.options.limits.ping_interval;
    const double next_ping =
        streaming_ && takes_pings_ && ping_interval > 0 ? last_sent_ + ping_interval : kNever;
    if (monotonic_seconds() < next_ping) {
      co_await wait(next_ping);
    } else {
      write(kSsePing);
    }
  }
  constexpr int kClientLeft = 499;
  record.status = ended_ && !closed_ ? status_ : kClientLeft;
  if (record.status == kClientLeft) keep_alive_ = false;
  record.seconds = monotonic_seconds() - started;
  if (exchange_) record.note = exchange_->log_note();
  exchange_.reset();
  edge_.callbacks.record(record);
}

asio::awaitable<bool> Connection::serve_one() {
  RequestParser parser(edge_.options.limits);
  const bool received = co_await receive(parser);
  if (!received) {
    count_body(0);
    co_await flush();
    co_return false;
  }
  HttpRequest request = parser.take();
  const std::string_view given = request.header("x-request-id");
  request.id = is_request_id(given) ? std::string(given) : edge_.new_request_id();
  request.client = client_;
  request.admin = admin_;
  request.body_count = hand_over_count();
  co_await respond(std::move(request));
  set_phase(Phase::kIdle, edge_.options.limits.idle_timeout);
  co_return keep_alive_ && !closed_ && !client_gone_ && !stopping_;
}

// Closing a socket with unread input resets it, and the client may lose the reply it was just sent.
asio::awaitable<void> Connection::linger() {
  if (closed_) co_return;
  discards_input_ = true;
  input_.clear();
  reader_gate_.cancel();
  SocketError ignored;
  socket().shutdown(Socket::shutdown_send, ignored);
  set_phase(Phase::kIdle, kLingerSeconds);
  while (!client_gone_ && !closed_) co_await wait(kNever);
}

asio::awaitable<void> Connection::run() {
  const auto self = shared_from_this();
  set_phase(Phase::kIdle, edge_.options.limits.head_timeout);
  if (tls_) {
    SocketError error;
    std::tie(error) = co_await tls_->async_handshake(asio::ssl::stream_base::server, kWithError);
    if (error) {
      close();
      co_return;
    }
  }
  asio::co_spawn(
      edge_.io, [self]() { return self->read(); },
      [self](const std::exception_ptr& error) { self->end_after(error); });
  while (true) {
    const bool again = co_await serve_one();
    if (!again) break;
  }
  co_await linger();
  close();
}

void Connection::check_deadline(double now) {
  if (now < deadline_) return;
  deadline_ = kNever;
  if (phase_ == Phase::kReceiving) {
    timed_out_ = true;
    wake();
  } else {
    close();
  }
}

void Connection::stop() {
  stopping_ = true;
  if (phase_ == Phase::kIdle) close();
}

void Connection::end_after(const std::exception_ptr& error) {
  if (!error) return;
  log_warning("{}: the connection has failed and is closed", client_);
  client_gone_ = true;
  close();
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  SocketError ignored;
  socket().close(ignored);
  reader_gate_.cancel();
  wake();
}

}  // namespace fathom
