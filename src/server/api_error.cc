#include "server/api_error.h"

namespace fathom {

std::string_view ApiError::type() const {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 501:
      return "not_implemented_error";
    case 503:
      return "unavailable_error";
    case 504:
      return "timeout_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

ApiError bad_request(std::string param, std::string message) {
  return {.status = 400, .message = std::move(message), .param = std::move(param)};
}

ApiError not_implemented(std::string message) { return {.status = 501, .message = std::move(message)}; }

ApiError unavailable(std::string message) { return {.status = 503, .message = std::move(message)}; }

ApiError unexpected_failure() {
  return {.status = 500, .message = "the request failed; the server's log has the cause"};
}

ApiError api_error_of(const Status& status, std::string param) {
  switch (status.code()) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported:
      return bad_request(std::move(param), status.message());
    case ErrorCode::kResourceExhausted:
      return {.status = 429, .message = status.message(), .code = "overloaded"};
    case ErrorCode::kCancelled:
      return unavailable("the request was cancelled");
    default:
      return unexpected_failure();
  }
}

ApiError rank_lost_error(const Status& status) {
  return {
      .status = 503, .message = status.message().substr(0, status.message().find(": ")), .code = "rank_lost"};
}

Json error_json(const ApiError& error) {
  Json body = {{"message", error.message},
               {"type", error.type()},
               {"param", error.param.empty() ? Json(nullptr) : Json(error.param)},
               {"code", error.code.empty() ? Json(nullptr) : Json(error.code)}};
  if (error.details.is_object()) body.update(error.details);
  return Json{{"error", std::move(body)}};
}

HttpReply error_reply(const ApiError& error) {
  HttpReply reply{.status = error.status, .body = dump_json(error_json(error))};
  if (error.status == 429 || error.status == 503) reply.headers.emplace_back("Retry-After", "1");
  if (error.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

}  // namespace fathom
