#include "client/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>

namespace fathom::client {
namespace {

constexpr size_t kReadBytes = size_t{64} << 10;

bool is_address(const std::string& host) {
  SocketError error;
  asio::ip::make_address(host, error);
  return !error;
}

}  // namespace

Connection::Connection(asio::io_context& io, asio::ssl::context* tls, std::string host)
    : socket_(io), host_(std::move(host)), buffer_(kReadBytes) {
  if (tls != nullptr) tls_.emplace(socket_, *tls);
}

asio::awaitable<SocketError> Connection::shake_hands() {
  // Addresses have no place in the server's name indication.
  if (!is_address(host_)) SSL_set_tlsext_host_name(tls_->native_handle(), host_.c_str());
  tls_->set_verify_callback(asio::ssl::host_name_verification(host_));
  auto [error] = co_await tls_->async_handshake(asio::ssl::stream_base::client, kWithError);
  co_return error;
}

asio::awaitable<SocketError> Connection::open(const std::vector<Endpoint>& endpoints) {
  SocketError failed = asio::error::host_not_found;
  for (const Endpoint& endpoint : endpoints) {
    SocketError ignored;
    socket_.close(ignored);
    auto [error] = co_await socket_.async_connect(endpoint, kWithError);
    failed = error;
    if (!error || timed_out) break;
  }
  if (failed) co_return failed;
  const int on = 1;
  ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // no-op on Unix sockets
  if (!tls_) co_return SocketError();
  failed = co_await shake_hands();
  co_return failed;
}

asio::awaitable<SocketError> Connection::write(const std::string& bytes) {
  if (tls_) {
    auto [error, count] = co_await asio::async_write(*tls_, asio::buffer(bytes), kWithError);
    co_return error;
  }
  auto [error, count] = co_await asio::async_write(socket_, asio::buffer(bytes), kWithError);
  co_return error;
}

asio::awaitable<SocketError> Connection::read_some(ResponseParser& parser) {
  SocketError error;
  size_t count = 0;
  if (tls_) {
    std::tie(error, count) = co_await boost::beast::http::async_read_some(*tls_, buffer_, parser, kWithError);
  } else {
    std::tie(error, count) =
        co_await boost::beast::http::async_read_some(socket_, buffer_, parser, kWithError);
  }
  received = received || count > 0 || parser.got_some();
  co_return error;
}

void Connection::close() {
  SocketError ignored;
  socket_.close(ignored);
}

}  // namespace fathom::client
