#include "server/request_fields.h"

#include <cmath>

namespace fathom {

RequestFields::RequestFields(const Json& object, std::string path)
    : object_(object), path_(std::move(path)) {}

void RequestFields::fail(std::string_view key, std::string message) {
  if (error_) return;
  const std::string name = path_ + std::string(key);
  error_ = bad_request(name, fmt::format("{} {}", name, message));
}

void RequestFields::take_error(const RequestFields& inner) {
  if (!error_) error_ = inner.error_;
}

const Json* RequestFields::value(std::string_view key) {
  known_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<bool> RequestFields::boolean(std::string_view key) {
  const Json* field = value(key);
  if (field == nullptr) return std::nullopt;
  if (field->is_boolean()) return field->get<bool>();
  fail(key, "must be true or false");
  return std::nullopt;
}

std::optional<int64_t> RequestFields::integer(std::string_view key, int64_t low, int64_t high) {
  const Json* field = value(key);
  if (field == nullptr) return std::nullopt;
  // Some clients write 5 as 5.0.
  const bool whole = field->is_number_float() && field->get<double>() == std::trunc(field->get<double>()) &&
                     std::abs(field->get<double>()) < 9e15;
  if (!field->is_number_integer() && !whole) {
    fail(key, "must be an integer");
    return std::nullopt;
  }
  // An unsigned number beyond int64 is beyond every limit here.
  const bool huge = field->is_number_unsigned() && field->get<uint64_t>() > uint64_t{INT64_MAX};
  const int64_t number = huge    ? INT64_MAX
                         : whole ? static_cast<int64_t>(field->get<double>())
                                 : field->get<int64_t>();
  if (!huge && low <= number && number <= high) return number;
  fail(key, fmt::format("must be from {} to {}, is {}", low, high, dump_json(*field)));
  return std::nullopt;
}

std::optional<uint64_t> RequestFields::seed(std::string_view key) {
  const Json* field = value(key);
  if (field != nullptr && field->is_number_unsigned()) return field->get<uint64_t>();
  const auto number = integer(key, INT64_MIN, INT64_MAX);
  return number && *number != -1 ? std::optional(static_cast<uint64_t>(*number)) : std::nullopt;
}

std::optional<double> RequestFields::number(std::string_view key, double low, double high) {
  const Json* field = value(key);
  if (field == nullptr) return std::nullopt;
  if (!field->is_number()) {
    fail(key, "must be a number");
    return std::nullopt;
  }
  const double number = field->get<double>();
  if (low <= number && number <= high) return number;  // false for NaN
  fail(key, fmt::format("must be from {} to {}, is {}", low, high, number));
  return std::nullopt;
}

std::optional<std::string> RequestFields::text(std::string_view key, size_t max_bytes) {
  const Json* field = value(key);
  if (field == nullptr) return std::nullopt;
  if (!field->is_string()) {
    fail(key, "must be a string");
    return std::nullopt;
  }
  const auto& string = field->get_ref<const std::string&>();
  if (string.size() <= max_bytes) return string;
  fail(key, fmt::format("must have at most {} bytes, has {}", max_bytes, string.size()));
  return std::nullopt;
}

std::vector<int32_t> RequestFields::token_ids(std::string_view key, int32_t limit, size_t max_count) {
  std::vector<int32_t> ids;
  const Json* field = value(key);
  if (field == nullptr) return ids;
  if (!field->is_array()) {
    fail(key, "must be a list of token ids");
    return ids;
  }
  if (field->size() > max_count) {
    fail(key, fmt::format("must have at most {} entries, has {}", max_count, field->size()));
    return ids;
  }
  for (const Json& entry : *field) {
    const bool valid = entry.is_number_unsigned() && entry.get<uint64_t>() < static_cast<uint64_t>(limit);
    if (!valid) {
      fail(key, fmt::format("must hold token ids from 0 to {}", limit - 1));
      return {};
    }
    ids.push_back(entry.get<int32_t>());
  }
  return ids;
}

std::vector<std::string> RequestFields::text_or_list(std::string_view key, size_t max_count,
                                                     size_t max_bytes) {
  const Json* field = value(key);
  if (field == nullptr) return {};
  if (field->is_string()) {
    const auto one = text(key, max_bytes);
    return one ? std::vector<std::string>{*one} : std::vector<std::string>();
  }
  if (!field->is_array()) {
    fail(key, "must be a string or a list of strings");
    return {};
  }
  if (field->size() > max_count) {
    fail(key, fmt::format("must have at most {} entries, has {}", max_count, field->size()));
    return {};
  }
  std::vector<std::string> all;
  for (const Json& entry : *field) {
    if (!entry.is_string() || entry.get_ref<const std::string&>().size() > max_bytes) {
      fail(key, fmt::format("must hold strings of at most {} bytes", max_bytes));
      return {};
    }
    all.push_back(entry.get<std::string>());
  }
  return all;
}

void RequestFields::only(std::string_view key, const Json& allowed) {
  const Json* field = value(key);
  if (field != nullptr && *field != allowed)
    fail(key, fmt::format("is not supported (other than {})", dump_json(allowed)));
}

std::vector<std::string> RequestFields::unknown() const {
  std::vector<std::string> keys;
  for (const auto& [key, field] : object_.items()) {
    if (!known_.contains(key)) keys.push_back(key);
  }
  return keys;
}

}  // namespace fathom
