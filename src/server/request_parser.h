// Bytes of a connection to an HttpRequest, within limits. Knows no socket. One request per parser.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "server/api_error.h"
#include "server/http_message.h"
#include "server/limits.h"

namespace fathom {

class RequestParser {
 public:
  explicit RequestParser(const ServerLimits& limits);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  enum class State { kHead, kBody, kDone, kFailed };
  State state() const { return state_; }

  // Takes what it can from the front of bytes and returns how much; the rest, with more behind it, is for the
  // next call. It stops after the head and after the body.
  size_t feed(std::string_view bytes);

  // From kBody on: the client waits for "100 Continue" before it sends the body.
  bool expects_continue() const;
  size_t body_bytes() const;

  // Precondition: kFailed.
  const ApiError& error() const { return error_; }
  // Method and path, "-" as long as the head is not complete.
  HttpRequest target() const;
  // Precondition: kDone; once. id and client are the caller's to set.
  HttpRequest take();

 private:
  struct Impl;
  void fail(int status, std::string message);
  void check_head();

  std::unique_ptr<Impl> impl_;
  size_t max_fields_;
  State state_ = State::kHead;
  ApiError error_;
};

}  // namespace fathom
