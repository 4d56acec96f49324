#include "checkpoint/field_rules.h"

#include <cmath>

namespace fathom {

std::string show_json(const Json& value) {
  constexpr size_t kLongest = 60;
  if (value.is_object()) return "an object";
  if (value.is_array() && value.size() > 8) return "a long list";
  std::string text = dump_json(value);
  if (text.size() > kLongest) {
    size_t end = kLongest;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0u) == 0x80u)
      --end;  // not inside a character
    text = text.substr(0, end) + "...";
  }
  return text;
}

const Json* find_field(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<int64_t> read_integer(const Json& value, double minimum, double maximum) {
  if (!value.is_number()) return invalid_data("{} is not a whole number", show_json(value));
  const double number = value.get<double>();
  if (number != std::floor(number)) return invalid_data("{} is not a whole number", show_json(value));
  if (!(minimum <= number && number <= maximum)) {
    return invalid_data("{} is outside [{:.0f}, {:.0f}]", show_json(value), minimum, maximum);
  }
  return static_cast<int64_t>(number);
}

Result<double> read_number(const Json& value, double minimum, double maximum) {
  if (!value.is_number()) return invalid_data("{} is not a number", show_json(value));
  const double number = value.get<double>();
  if (!(minimum <= number && number <= maximum)) {
    return invalid_data("{} is outside [{}, {}]", show_json(value), minimum, maximum);
  }
  return number;
}

Result<bool> read_boolean(const Json& value) {
  if (!value.is_boolean()) return invalid_data("{} is not true or false", show_json(value));
  return value.get<bool>();
}

Result<std::string> read_string(const Json& value) {
  if (!value.is_string()) return invalid_data("{} is not a string", show_json(value));
  return value.get<std::string>();
}

Result<std::vector<int64_t>> read_token_id_list(const Json* value, int64_t vocab_size) {
  constexpr size_t kMaxIds = 256;
  std::vector<int64_t> ids;
  if (value == nullptr) return ids;
  const double last_id = static_cast<double>(vocab_size - 1);
  if (!value->is_array()) {
    FATHOM_ASSIGN_OR_RETURN(const int64_t id, read_integer(*value, 0, last_id));
    return std::vector<int64_t>{id};
  }
  if (value->size() > kMaxIds) return invalid_data("{} ids are over the limit of {}", value->size(), kMaxIds);
  for (const Json& element : *value) {
    FATHOM_ASSIGN_OR_RETURN(const int64_t id, read_integer(element, 0, last_id));
    ids.push_back(id);
  }
  return ids;
}

}  // namespace fathom
