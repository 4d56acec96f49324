// Status and Result<T>: how everything that input, files, limits or peers can cause is reported.
// A message names the thing at fault, the limit and the value seen; it is one line, without a full stop.
// Not for our own bugs: those are FATHOM_CHECK (base/check.h).
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace fathom {

// What kind of failure, as far as a caller acts on it differently (exit status, HTTP status).
enum class ErrorCode {
  kOk,
  kInvalidArgument,    // the request or option is wrong
  kInvalidData,        // a file's content is wrong
  kNotFound,           // a file, tensor or model is missing
  kIoError,            // the operating system refused
  kResourceExhausted,  // memory, cache or queue is full
  kUnsupported,        // valid, but not offered here
  kCancelled,
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == ErrorCode::kOk; }
  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same error with "context: " put before its message; an ok status stays as it is.
  Status with_context(const std::string& context) const {
    return ok() ? Status() : Status(code_, context + ": " + message_);
  }

 private:
  ErrorCode code_ = ErrorCode::kOk;
  std::string message_;
};

inline Status ok_status() { return Status(); }

template <typename... Args>
Status make_error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Status invalid_argument(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kInvalidArgument, format, std::forward<Args>(args)...);
}
template <typename... Args>
Status invalid_data(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kInvalidData, format, std::forward<Args>(args)...);
}
template <typename... Args>
Status not_found(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kNotFound, format, std::forward<Args>(args)...);
}
template <typename... Args>
Status io_error(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kIoError, format, std::forward<Args>(args)...);
}
template <typename... Args>
Status resource_exhausted(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kResourceExhausted, format, std::forward<Args>(args)...);
}
template <typename... Args>
Status unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kUnsupported, format, std::forward<Args>(args)...);
}

// A value or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}         // NOLINT: implicit by design
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {}  // NOLINT: implicit by design

  bool ok() const { return state_.index() == 0; }
  // The error, or an ok status.
  Status status() const { return ok() ? Status() : std::get<1>(state_); }

  // Precondition for all of these: ok().
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace fathom

#define FATHOM_CONCAT_INNER(a, b) a##b
#define FATHOM_CONCAT(a, b) FATHOM_CONCAT_INNER(a, b)

// Returns the error of a Status expression to the caller.
#define FATHOM_RETURN_IF_ERROR(expression)           \
  do {                                               \
    ::fathom::Status fathom_status_ = (expression);  \
    if (!fathom_status_.ok()) return fathom_status_; \
  } while (false)

// FATHOM_ASSIGN_OR_RETURN(auto x, f()): declares x from a Result, or returns its error to the caller.
#define FATHOM_ASSIGN_OR_RETURN(declaration, expression) \
  FATHOM_ASSIGN_OR_RETURN_INNER(FATHOM_CONCAT(fathom_result_, __LINE__), declaration, expression)
#define FATHOM_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                          \
  if (!result.ok()) return result.status();                            \
  declaration = std::move(result).value()
