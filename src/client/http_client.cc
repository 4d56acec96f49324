#include "client/http_client.h"

#include <netdb.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>
#include <set>

#include "base/clock.h"
#include "client/connection.h"
#include "client/sse_reader.h"

namespace fathom {

namespace asio = boost::asio;
using client::Connection;
using client::Endpoint;
using client::kWithError;
using client::ResponseParser;
using client::SocketError;

namespace {

constexpr double kTickSeconds = 0.1;
constexpr uint32_t kMaxHeadBytes = 64 << 10;

// A connection is a descriptor, and the usual limit is 1024.
void allow_many_descriptors() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<std::vector<Endpoint>> find_endpoints(const Url& url) {
  if (url.scheme == Url::Scheme::kUnix) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (url.base_path.size() >= sizeof address.sun_path) {
      return invalid_argument("{}: the path has {} bytes, the system's limit is {}", url.text(),
                              url.base_path.size(), sizeof address.sun_path - 1);
    }
    std::memcpy(address.sun_path, url.base_path.c_str(), url.base_path.size() + 1);
    return std::vector<Endpoint>{Endpoint(&address, sizeof address)};
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(url.host.c_str(), std::to_string(url.port).c_str(), &hints, &found);
  if (error != 0) return io_error("{}: the host is not known: {}", url.text(), ::gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> guard(found, ::freeaddrinfo);
  std::vector<Endpoint> endpoints;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    endpoints.emplace_back(one->ai_addr, one->ai_addrlen, one->ai_protocol);
  }
  return endpoints;
}

Status load_authorities(const HttpClientOptions& options, asio::ssl::context& tls) {
  SocketError error;
  tls.set_verify_mode(options.tls_check == TlsCheck::kVerify ? asio::ssl::verify_peer
                                                             : asio::ssl::verify_none);
  if (options.ca_file.empty()) {
    tls.set_default_verify_paths(error);
    return error ? io_error("the system's certificates: {}", error.message()) : ok_status();
  }
  tls.load_verify_file(options.ca_file, error);
  return error ? invalid_data("{}: not certificates in PEM: {}", options.ca_file, error.message())
               : ok_status();
}

std::string request_bytes(const HttpClientOptions& options, const HttpCall& call) {
  const std::string path =
      options.url.scheme == Url::Scheme::kUnix ? call.path : options.url.base_path + call.path;
  std::string bytes = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: fathom\r\nAccept: */*\r\n",
                                  call.method, path, options.url.host_header());
  if (!options.api_key.empty()) bytes += fmt::format("Authorization: Bearer {}\r\n", options.api_key);
  if (!call.body.empty()) {
    bytes += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", call.body.size());
  }
  return bytes + "\r\n" + call.body;
}

void take_head(const ResponseParser& parser, ClientReply& reply) {
  const auto& head = parser.get();
  reply.code = static_cast<int>(head.result_int());
  reply.content_type = std::string(head[boost::beast::http::field::content_type]);
  reply.is_event_stream = reply.content_type.starts_with("text/event-stream");
  const auto after = head[boost::beast::http::field::retry_after];
  double seconds = 0;
  const auto [end, error] = std::from_chars(after.data(), after.data() + after.size(), seconds);
  if (error == std::errc() && end == after.data() + after.size() && seconds >= 0) reply.retry_after = seconds;
}

}  // namespace

struct HttpClient::Impl {
  struct RunningCall {
    std::string request;
    EventSink on_event;
    ReplySink on_end;
  };

  explicit Impl(HttpClientOptions given) : options(std::move(given)) {}

  asio::awaitable<void> run_call(std::shared_ptr<RunningCall> call);
  asio::awaitable<ClientReply> converse(Connection& connection, const RunningCall& call, bool is_new);
  asio::awaitable<Status> receive(Connection& connection, const RunningCall& call, ClientReply& reply);
  asio::awaitable<void> watch();
  asio::awaitable<void> wait_for(double when, std::function<void()> task);
  Status take_body(ResponseParser& parser, SseReader& reader, const RunningCall& call,
                   ClientReply& reply) const;
  Status failure(const Connection& connection, const SocketError& error, const ClientReply& reply) const;

  HttpClientOptions options;
  asio::io_context io{1};
  std::optional<asio::ssl::context> tls;
  std::vector<Endpoint> endpoints;
  std::vector<std::unique_ptr<Connection>> idle;
  std::set<Connection*> busy;
  asio::steady_timer tick{io};
  std::set<asio::steady_timer*> waiting;
  size_t num_calls = 0;
  bool watching = false;
  bool cancelling = false;
};

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpClient::~HttpClient() {
  cancel_all();
  run();
}

Result<std::unique_ptr<HttpClient>> HttpClient::create(HttpClientOptions options) {
  const std::string& key = options.api_key;
  if (!std::all_of(key.begin(), key.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; })) {
    return invalid_argument("the API key has blanks or other characters that no header may have");
  }
  auto impl = std::make_unique<Impl>(std::move(options));
  FATHOM_ASSIGN_OR_RETURN(impl->endpoints, find_endpoints(impl->options.url));
  if (impl->options.url.scheme == Url::Scheme::kHttps) {
    impl->tls.emplace(asio::ssl::context::tls_client);
    FATHOM_RETURN_IF_ERROR(load_authorities(impl->options, *impl->tls));
  }
  allow_many_descriptors();
  ::signal(SIGPIPE, SIG_IGN);
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

const Url& HttpClient::url() const { return impl_->options.url; }

// One line that says what happened and, where that can be told, what to do.
Status HttpClient::Impl::failure(const Connection& connection, const SocketError& error,
                                 const ClientReply& reply) const {
  const std::string server = options.url.text();
  if (cancelling) return Status(ErrorCode::kCancelled, server + ": cancelled");
  if (connection.timed_out)
    return io_error("{}: the server was silent for {:g} s", server, options.silence_timeout);
  const bool closed = error == asio::error::eof || error == boost::beast::http::error::end_of_stream ||
                      error == boost::beast::http::error::partial_message ||
                      error == asio::error::connection_reset || error == asio::error::broken_pipe ||
                      error == asio::ssl::error::stream_truncated;
  if (closed)
    return io_error("{}: the server closed the connection {}", server,
                    reply.code == 0 ? "without a reply" : "in the middle of its reply");
  if (error.category() ==
      boost::beast::http::make_error_code(boost::beast::http::error::bad_version).category()) {
    return invalid_data("{}: what answers is no HTTP server: {}", server, error.message());
  }
  return io_error("{}: {}", server, error.message());
}

Status HttpClient::Impl::take_body(ResponseParser& parser, SseReader& reader, const RunningCall& call,
                                   ClientReply& reply) const {
  const std::string piece = std::exchange(parser.get().body(), {});
  if (!reply.is_event_stream || reply.code != 200 || !call.on_event) {
    reply.body += piece;
    if (reply.body.size() <= options.max_body_bytes) return ok_status();
    return invalid_data("{}: the reply is over the limit of {} bytes", options.url.text(),
                        options.max_body_bytes);
  }
  FATHOM_RETURN_IF_ERROR(reader.feed(piece).with_context(options.url.text()));
  while (auto event = reader.next()) call.on_event(*event);
  return ok_status();
}

asio::awaitable<Status> HttpClient::Impl::receive(Connection& connection, const RunningCall& call,
                                                  ClientReply& reply) {
  ResponseParser parser;  // not eager: an eager one holds a chunk back until it has seen the next one's head
  parser.header_limit(kMaxHeadBytes);
  parser.body_limit(boost::none);
  SseReader reader;
  bool has_head = false;
  while (!parser.is_done()) {
    connection.deadline = monotonic_seconds() + options.silence_timeout;
    const SocketError error = co_await connection.read_some(parser);
    if (parser.is_header_done() && !has_head) {
      has_head = true;
      take_head(parser, reply);
    }
    const Status taken = take_body(parser, reader, call, reply);
    if (!taken.ok()) co_return taken;
    if (error) co_return failure(connection, error, reply);
  }
  if (!parser.keep_alive()) connection.close();
  co_return ok_status();
}

asio::awaitable<ClientReply> HttpClient::Impl::converse(Connection& connection, const RunningCall& call,
                                                        bool is_new) {
  ClientReply reply;
  SocketError error;
  if (is_new) {
    connection.deadline = monotonic_seconds() + options.connect_timeout;
    error = co_await connection.open(endpoints);
    if (error) {
      const std::string server = options.url.text();
      reply.status = cancelling ? Status(ErrorCode::kCancelled, server + ": cancelled")
                     : connection.timed_out
                         ? io_error("{}: no connection within {:g} s", server, options.connect_timeout)
                         : io_error("{}: cannot connect: {}", server, error.message());
      co_return reply;
    }
  }
  connection.received = false;
  connection.deadline = monotonic_seconds() + options.silence_timeout;
  error = co_await connection.write(call.request);
  // A server may answer and close before it has read all of a request: then its answer says why.
  if (error && error != asio::error::broken_pipe && error != asio::error::connection_reset) {
    reply.status = failure(connection, error, reply);
    co_return reply;
  }
  reply.status = co_await receive(connection, call, reply);
  co_return reply;
}

// A connection that was kept may have been closed by the server meanwhile: then the call gets a new one.
asio::awaitable<void> HttpClient::Impl::run_call(std::shared_ptr<RunningCall> call) {
  ClientReply reply;
  while (!cancelling) {
    std::unique_ptr<Connection> connection;
    const bool is_new = idle.empty();
    if (is_new) {
      connection = std::make_unique<Connection>(io, tls ? &*tls : nullptr, options.url.host);
    } else {
      connection = std::move(idle.back());
      idle.pop_back();
    }
    busy.insert(connection.get());
    reply = co_await converse(*connection, *call, is_new);
    busy.erase(connection.get());
    const bool again =
        !is_new && !reply.status.ok() && !connection->received && !connection->timed_out && !cancelling;
    if (again) continue;
    if (reply.status.ok() && connection->is_open()) idle.push_back(std::move(connection));
    break;
  }
  if (cancelling && !reply.status.ok())
    reply.status = Status(ErrorCode::kCancelled, options.url.text() + ": cancelled");
  call->on_end(std::move(reply));
  if (--num_calls == 0) tick.cancel();
}

asio::awaitable<void> HttpClient::Impl::watch() {
  while (num_calls > 0) {
    tick.expires_after(std::chrono::milliseconds(static_cast<int64_t>(kTickSeconds * 1e3)));
    co_await tick.async_wait(kWithError);
    const double now = monotonic_seconds();
    for (Connection* connection : busy) {
      if (now < connection->deadline) continue;
      connection->timed_out = true;
      connection->close();
    }
  }
  watching = false;
}

asio::awaitable<void> HttpClient::Impl::wait_for(double when, std::function<void()> task) {
  if (cancelling) co_return;
  asio::steady_timer timer(io);
  const double seconds = std::clamp(when - monotonic_seconds(), 0.0, 1e6);
  timer.expires_after(std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9)));
  waiting.insert(&timer);
  co_await timer.async_wait(kWithError);
  waiting.erase(&timer);
  if (!cancelling) task();
}

void HttpClient::start(HttpCall call, EventSink on_event, ReplySink on_end) {
  Impl& impl = *impl_;
  const auto running = std::make_shared<Impl::RunningCall>(
      Impl::RunningCall{request_bytes(impl.options, call), std::move(on_event), std::move(on_end)});
  ++impl.num_calls;
  if (!std::exchange(impl.watching, true)) asio::co_spawn(impl.io, impl.watch(), asio::detached);
  asio::co_spawn(impl.io, impl.run_call(running), asio::detached);
}

void HttpClient::at(double when, std::function<void()> task) {
  asio::co_spawn(impl_->io, impl_->wait_for(when, std::move(task)), asio::detached);
}

void HttpClient::run() {
  impl_->io.restart();
  impl_->io.run();
  impl_->cancelling = false;
}

bool HttpClient::run_for(double seconds) {
  impl_->io.restart();
  impl_->io.run_for(std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6)));
  if (!impl_->io.stopped()) return true;
  impl_->cancelling = false;
  return false;
}

void HttpClient::cancel_all() {
  impl_->cancelling = true;
  for (Connection* connection : impl_->busy) connection->close();
  for (asio::steady_timer* timer : impl_->waiting) timer->cancel();
}

ClientReply HttpClient::call(HttpCall call) {
  ClientReply result;
  start(std::move(call), {}, [&result](ClientReply reply) { result = std::move(reply); });
  run();
  return result;
}

}  // namespace fathom
