// Reads the fields of a JSON object with types and ranges. The first thing wrong is kept as the error, and
// what was read after it has no meaning; so a parser is a straight list of fields with one check at its end.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "server/api_error.h"

namespace fathom {

class RequestFields {
 public:
  // object must be a JSON object and outlive the reader. path stands before names in messages: "" or
  // "stream_options.".
  explicit RequestFields(const Json& object, std::string path = "");

  // Null counts as absent in all of these.
  const Json* value(std::string_view key);
  std::optional<bool> boolean(std::string_view key);
  std::optional<int64_t> integer(std::string_view key, int64_t low, int64_t high);
  // Any integer of 64 bits, signed or not, as its bits; nothing for -1, by which clients of llama.cpp mean
  // none.
  std::optional<uint64_t> seed(std::string_view key);
  std::optional<double> number(std::string_view key, double low, double high);
  std::optional<std::string> text(std::string_view key, size_t max_bytes);
  // A list of integers in [0, limit), at most max_count.
  std::vector<int32_t> token_ids(std::string_view key, int32_t limit, size_t max_count);
  std::vector<std::string> text_or_list(std::string_view key, size_t max_count, size_t max_bytes);

  // The field may only have this value: what it asks for is not offered.
  void only(std::string_view key, const Json& allowed);
  // Known and without effect here.
  void ignore(std::string_view key) { value(key); }

  void fail(std::string_view key, std::string message);
  const std::optional<ApiError>& error() const { return error_; }
  // The error of a reader of a field's own object.
  void take_error(const RequestFields& inner);

  // Keys nobody asked for, in their order.
  std::vector<std::string> unknown() const;

 private:
  const Json& object_;
  std::string path_;
  std::unordered_set<std::string_view> known_;
  std::optional<ApiError> error_;
};

}  // namespace fathom
