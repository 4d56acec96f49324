#include "server/http_edge.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <random>

#include "base/log.h"
#include "base/short_turns.h"
#include "server/connection.h"
#include "server/work_queue.h"

namespace fathom {
namespace {

using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

constexpr double kTickSeconds = 0.5;
constexpr double kStopSeconds = 3;  // for responses under way when the edge stops

// One port, or the Unix socket.
Result<asio::ssl::context> make_tls(const EdgeOptions& options) {
  using Tls = asio::ssl::context;
  Tls tls(Tls::tls_server);
  SocketError error;
  tls.set_options(Tls::default_workarounds | Tls::no_sslv2 | Tls::no_sslv3 | Tls::no_tlsv1 | Tls::no_tlsv1_1,
                  error);
  tls.use_certificate_chain_file(options.certificate_file, error);
  if (error)
    return invalid_data("{}: not a certificate in PEM: {}", options.certificate_file, error.message());
  // An encrypted key is refused, not asked for at the terminal.
  tls.set_password_callback([](size_t, Tls::password_purpose) { return std::string(); }, error);
  tls.use_private_key_file(options.key_file, Tls::pem, error);
  if (error) {
    return invalid_data("{}: not the certificate's private key in PEM: {}", options.key_file,
                        error.message());
  }
  for (const std::string& file : options.client_ca_files) {
    tls.load_verify_file(file, error);
    if (error) return invalid_data("{}: not a certificate authority in PEM: {}", file, error.message());
    tls.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, error);
  }
  return tls;
}

}  // namespace

struct HttpEdge::Impl {
  struct Listener {
    ListenSocket socket;
    Acceptor acceptor;
    bool admin = false;
  };

  Status listen(const ListenOptions& options, bool admin);
  asio::awaitable<void> accept(Listener& listener);
  asio::awaitable<void> tick();
  asio::awaitable<void> watch_signals();
  void admit(Connection::Socket socket, bool admin);

  EdgeState state;
  std::vector<std::unique_ptr<Listener>> listeners;  // the first is the service's
  asio::steady_timer timer{state.io};
  asio::signal_set signals{state.io};
  double stopping_since = kNever;
};

Status HttpEdge::Impl::listen(const ListenOptions& options, bool admin) {
  FATHOM_ASSIGN_OR_RETURN(ListenSocket socket, open_listen_socket(options));
  Acceptor acceptor(state.io, asio::generic::stream_protocol(socket.family, socket.protocol),
                    socket.descriptor);
  listeners.push_back(std::make_unique<Listener>(Listener{std::move(socket), std::move(acceptor), admin}));
  return ok_status();
}

void HttpEdge::Impl::admit(Connection::Socket socket, bool admin) {
  if (state.connections.size() >= state.options.limits.max_connections) {
    log_warning("{} connections are the limit: one more is closed", state.connections.size());
    return;  // closes it
  }
  const auto connection = std::make_shared<Connection>(state, std::move(socket), admin);
  asio::co_spawn(
      state.io, [connection]() { return connection->run(); },
      [connection](const std::exception_ptr& error) { connection->end_after(error); });
}

asio::awaitable<void> HttpEdge::Impl::accept(Listener& listener) {
  while (listener.acceptor.is_open()) {
    auto [error, socket] = co_await listener.acceptor.async_accept(kWithError);
    if (!error) {
      guarded([&, &socket = socket] { admit(std::move(socket), listener.admin); })();
    } else if (listener.acceptor.is_open()) {
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
    guarded(state.callbacks.tick)();
  }
}

asio::awaitable<void> HttpEdge::Impl::watch_signals() {
  while (stopping_since == kNever) {
    auto [error, number] = co_await signals.async_wait(kWithError);
    if (error) co_return;
    log_info("signal {}", number);
    guarded(state.callbacks.signal)();
  }
}

HttpEdge::HttpEdge(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpEdge::~HttpEdge() {
  const std::string& path = impl_->state.options.listen.unix_path;
  if (!path.empty()) remove_socket(path);
}

Result<std::unique_ptr<HttpEdge>> HttpEdge::create(const EdgeOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->state.options = options;
  std::random_device random;
  impl->state.id_key = (uint64_t{random()} << 32) | random();
  if (options.certificate_file.empty() != options.key_file.empty()) {
    return invalid_argument("--ssl-certfile and --ssl-keyfile: one needs the other");
  }
  if (options.certificate_file.empty() && !options.client_ca_files.empty()) {
    return invalid_argument("--ssl-ca-certs: needs --ssl-certfile");
  }
  if (!options.certificate_file.empty()) {
    FATHOM_ASSIGN_OR_RETURN(impl->state.tls, make_tls(options));
  }
  FATHOM_RETURN_IF_ERROR(impl->listen(options.listen, false));
  for (const ListenOptions& admin : options.admin_listen) FATHOM_RETURN_IF_ERROR(impl->listen(admin, true));
  return std::unique_ptr<HttpEdge>(new HttpEdge(std::move(impl)));
}

std::string HttpEdge::url() const {
  if (!impl_->state.options.listen.unix_path.empty()) return "unix:" + address();
  return (impl_->state.tls ? "https://" : "http://") + address();
}

std::string HttpEdge::address() const { return impl_->listeners.front()->socket.address; }

std::string HttpEdge::admin_address() const {
  return impl_->listeners.size() > 1 ? impl_->listeners[1]->socket.address : std::string();
}

bool HttpEdge::loopback() const {
  return std::all_of(impl_->listeners.begin(), impl_->listeners.end(),
                     [](const auto& listener) { return listener->socket.loopback; });
}

void HttpEdge::post(std::function<void()> task) {
  asio::post(impl_->state.io, [&state = impl_->state, task = guarded(std::move(task))] {
    ++state.turn;
    task();
  });
}

void HttpEdge::run(EdgeCallbacks callbacks) {
  Impl& impl = *impl_;
  impl.state.callbacks = std::move(callbacks);
  ::signal(SIGPIPE, SIG_IGN);
  for (int signal : {SIGTERM, SIGINT, SIGUSR1}) impl.signals.add(signal);
  for (const auto& listener : impl.listeners) {
    asio::co_spawn(impl.state.io, impl.accept(*listener), asio::detached);
  }
  asio::co_spawn(impl.state.io, impl.tick(), asio::detached);
  asio::co_spawn(impl.state.io, impl.watch_signals(), asio::detached);
  ask_for_short_turns();
  impl.state.io.run();
}

void HttpEdge::stop() {
  if (impl_->stopping_since != kNever) return;
  impl_->stopping_since = monotonic_seconds();
  SocketError ignored;
  for (const auto& listener : impl_->listeners) listener->acceptor.close(ignored);
  impl_->signals.cancel(ignored);
  const std::vector<Connection*> all(impl_->state.connections.begin(), impl_->state.connections.end());
  for (Connection* connection : all) connection->stop();
}

}  // namespace fathom
