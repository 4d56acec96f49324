// One connection to a server. For http_client.cc and connection.cc only: it is the one header here that knows
// Boost.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom::client {

namespace asio = boost::asio;
using SocketError = boost::system::error_code;
using Endpoint = asio::generic::stream_protocol::endpoint;
using ResponseParser = boost::beast::http::response_parser<boost::beast::http::string_body>;
constexpr auto kWithError = asio::as_tuple(asio::use_awaitable);

class Connection {
 public:
  // tls may be null; else it outlives the connection, and host is whose certificate is expected.
  Connection(asio::io_context& io, asio::ssl::context* tls, std::string host);

  // To the first endpoint that answers; the error is the last one's.
  asio::awaitable<SocketError> open(const std::vector<Endpoint>& endpoints);
  asio::awaitable<SocketError> write(const std::string& bytes);
  // Some more of a response.
  asio::awaitable<SocketError> read_some(ResponseParser& parser);
  void close();
  bool is_open() const { return socket_.is_open(); }

  // monotonic_seconds() from which on the connection is closed by who watches over it.
  double deadline = 0;
  bool timed_out = false;
  bool received = false;  // something of the response under way

 private:
  using Socket = asio::generic::stream_protocol::socket;
  asio::awaitable<SocketError> shake_hands();

  Socket socket_;
  std::optional<asio::ssl::stream<Socket&>> tls_;
  std::string host_;
  boost::beast::flat_buffer buffer_;
};

}  // namespace fathom::client
