#include "server/http_edge.h"

#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <random>

#include "base/log.h"
#include "server/connection.h"

namespace fathom {
namespace {

using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

constexpr double kTickSeconds = 0.5;
constexpr double kStopSeconds = 3;  // for responses under way when the edge stops

}  // namespace

struct HttpEdge::Impl {
  asio::awaitable<void> accept();
  asio::awaitable<void> tick();
  asio::awaitable<void> watch_signals();
  void admit(Connection::Socket socket);

  EdgeState state;
  ListenSocket listening;
  std::optional<Acceptor> acceptor;
  asio::steady_timer timer{state.io};
  asio::signal_set signals{state.io};
  double stopping_since = kNever;
};

void HttpEdge::Impl::admit(Connection::Socket socket) {
  if (state.connections.size() >= state.options.limits.max_connections) {
    log_warning("{} connections are the limit: one more is closed", state.connections.size());
    return;  // closes it
  }
  const auto connection = std::make_shared<Connection>(state, std::move(socket));
  asio::co_spawn(
      state.io, [connection]() { return connection->run(); }, asio::detached);
}

asio::awaitable<void> HttpEdge::Impl::accept() {
  while (acceptor->is_open()) {
    auto [error, socket] = co_await acceptor->async_accept(kWithError);
    if (!error) {
      admit(std::move(socket));
    } else if (acceptor->is_open()) {
      // Out of descriptors, most likely: others must end first.
      log_warning("cannot accept a connection: {}", error.message());
      asio::steady_timer pause(state.io, std::chrono::milliseconds(100));
      co_await pause.async_wait(kWithError);
    }
  }
}

asio::awaitable<void> HttpEdge::Impl::tick() {
  while (true) {
    timer.expires_after(std::chrono::milliseconds(static_cast<int64_t>(kTickSeconds * 1e3)));
    co_await timer.async_wait(kWithError);
    const double now = monotonic_seconds();
    // Closing may end connections, which leave the set.
    const std::vector<Connection*> all(state.connections.begin(), state.connections.end());
    for (Connection* connection : all) {
      if (now > stopping_since + kStopSeconds) {
        connection->close();
      } else {
        connection->check_deadline(now);
      }
    }
    if (stopping_since != kNever && state.connections.empty()) co_return;
    state.callbacks.tick();
  }
}

asio::awaitable<void> HttpEdge::Impl::watch_signals() {
  while (stopping_since == kNever) {
    auto [error, number] = co_await signals.async_wait(kWithError);
    if (error) co_return;
    log_info("signal {}", number);
    state.callbacks.signal();
  }
}

HttpEdge::HttpEdge(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpEdge::~HttpEdge() {
  if (!impl_->state.options.listen.unix_path.empty()) ::unlink(impl_->state.options.listen.unix_path.c_str());
}

Result<std::unique_ptr<HttpEdge>> HttpEdge::create(const EdgeOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->state.options = options;
  std::random_device random;
  impl->state.id_key = (uint64_t{random()} << 32) | random();
  if (options.certificate_file.empty() != options.key_file.empty()) {
    return invalid_argument("--ssl-certfile and --ssl-keyfile: one needs the other");
  }
  if (!options.certificate_file.empty()) {
    using Tls = asio::ssl::context;
    impl->state.tls.emplace(Tls::tls_server);
    SocketError error;
    impl->state.tls->set_options(
        Tls::default_workarounds | Tls::no_sslv2 | Tls::no_sslv3 | Tls::no_tlsv1 | Tls::no_tlsv1_1, error);
    impl->state.tls->use_certificate_chain_file(options.certificate_file, error);
    if (error)
      return invalid_data("{}: not a certificate in PEM: {}", options.certificate_file, error.message());
    impl->state.tls->use_private_key_file(options.key_file, Tls::pem, error);
    if (error) {
      return invalid_data("{}: not the certificate's private key in PEM: {}", options.key_file,
                          error.message());
    }
  }
  FATHOM_ASSIGN_OR_RETURN(impl->listening, open_listen_socket(options.listen));
  impl->acceptor.emplace(impl->state.io,
                         asio::generic::stream_protocol(impl->listening.family, impl->listening.protocol),
                         impl->listening.descriptor);
  return std::unique_ptr<HttpEdge>(new HttpEdge(std::move(impl)));
}

std::string HttpEdge::url() const {
  if (!impl_->state.options.listen.unix_path.empty()) return "unix:" + impl_->listening.address;
  return (impl_->state.tls ? "https://" : "http://") + impl_->listening.address;
}

bool HttpEdge::loopback() const { return impl_->listening.loopback; }

void HttpEdge::post(std::function<void()> task) { asio::post(impl_->state.io, std::move(task)); }

void HttpEdge::run(EdgeCallbacks callbacks) {
  Impl& impl = *impl_;
  impl.state.callbacks = std::move(callbacks);
  ::signal(SIGPIPE, SIG_IGN);
  impl.signals.add(SIGTERM);
  impl.signals.add(SIGINT);
  asio::co_spawn(impl.state.io, impl.accept(), asio::detached);
  asio::co_spawn(impl.state.io, impl.tick(), asio::detached);
  asio::co_spawn(impl.state.io, impl.watch_signals(), asio::detached);
  impl.state.io.run();
}

void HttpEdge::stop() {
  if (impl_->stopping_since != kNever) return;
  impl_->stopping_since = monotonic_seconds();
  SocketError ignored;
  impl_->acceptor->close(ignored);
  impl_->signals.cancel(ignored);
  const std::vector<Connection*> all(impl_->state.connections.begin(), impl_->state.connections.end());
  for (Connection* connection : all) connection->stop();
}

}  // namespace fathom
