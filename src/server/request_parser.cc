#include "server/request_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http.hpp>
#include <map>

#include "base/check.h"

namespace fathom {
namespace {

namespace http = boost::beast::http;

}  // namespace

struct RequestParser::Impl {
  http::request_parser<http::string_body> parser;
};

RequestParser::RequestParser(const ServerLimits& limits)
    : impl_(std::make_unique<Impl>()), max_fields_(limits.max_header_fields) {
  impl_->parser.header_limit(static_cast<uint32_t>(limits.max_head_bytes));
  impl_->parser.body_limit(limits.max_body_bytes);
}

RequestParser::~RequestParser() = default;

void RequestParser::fail(int status, std::string message) {
  state_ = State::kFailed;
  error_ = {.status = status, .message = std::move(message)};
}

size_t RequestParser::feed(std::string_view bytes) {
  if (state_ == State::kDone || state_ == State::kFailed || bytes.empty()) return 0;
  boost::system::error_code error;
  const size_t used = impl_->parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
  if (error == http::error::need_more) error = {};
  if (error == http::error::header_limit) {
    fail(431, "the request's head is over the limit of the server");
  } else if (error == http::error::body_limit) {
    fail(413, "the request's body is over the limit of the server");
  } else if (error) {
    fail(400, "not a valid HTTP request: " + error.message());
  } else if (state_ == State::kHead && impl_->parser.is_header_done()) {
    state_ = State::kBody;
    check_head();
  }
  if (state_ == State::kBody && impl_->parser.is_done()) state_ = State::kDone;
  return used;
}

// What Beast lets pass and a proxy in front may read differently.
void RequestParser::check_head() {
  std::map<std::string, int> seen;
  size_t num_fields = 0;
  for (const auto& field : impl_->parser.get()) {
    ++seen[ascii_lower(field.name_string())];
    ++num_fields;
  }
  if (num_fields > max_fields_) {
    return fail(431,
                fmt::format("the request has {} header fields, the limit is {}", num_fields, max_fields_));
  }
  for (const char* single :
       {"host", "content-length", "transfer-encoding", "authorization", "x-api-key", "origin"}) {
    if (seen[single] > 1) return fail(400, fmt::format("the header {} occurs twice", single));
  }
  if (seen["content-length"] > 0 && seen["transfer-encoding"] > 0) {
    return fail(400, "Content-Length and Transfer-Encoding exclude each other");
  }
  const std::string_view target = impl_->parser.get().target();
  if (!target.starts_with('/') && target != "*") return fail(400, "the request's target is not a path");
}

bool RequestParser::expects_continue() const {
  return ascii_lower(impl_->parser.get()[http::field::expect]) == "100-continue";
}

size_t RequestParser::body_bytes() const { return impl_->parser.get().body().size(); }

HttpRequest RequestParser::target() const {
  HttpRequest request;
  request.method = request.path = "-";
  const auto& message = impl_->parser.get();
  if (message.target().empty()) return request;
  request.method = std::string(message.method_string());
  const std::string_view target = message.target();
  const size_t mark = target.find('?');
  request.path = std::string(target.substr(0, mark));
  if (mark != std::string_view::npos) request.query = std::string(target.substr(mark + 1));
  return request;
}

HttpRequest RequestParser::take() {
  FATHOM_CHECK(state_ == State::kDone, "state {}", static_cast<int>(state_));
  HttpRequest request = target();
  auto message = impl_->parser.release();
  request.keep_alive = message.keep_alive();
  request.http_1_0 = message.version() == 10;
  for (const auto& field : message)
    request.headers.emplace_back(ascii_lower(field.name_string()), field.value());
  request.body = std::move(message.body());
  return request;
}

}  // namespace fathom
