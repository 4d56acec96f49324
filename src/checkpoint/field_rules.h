// Reading typed fields out of a JSON object by a table of rules: one line per field with its type, its range
// and what to do where it is absent. Defaults are the target's initial values. Messages: "file: field: value
// is wrong how".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"

namespace fathom {

enum class Presence {
  kRequired,
  kOptional,  // absent or null: the default stays
};

// One field of T. A whole number is accepted where a float is meant; a float is accepted where a whole number
// is meant only if it is whole (4096.0). The range is inclusive and, for whole numbers, within what a double
// holds exactly.
template <typename T>
struct FieldRule {
  using Member = std::variant<int64_t T::*, double T::*, bool T::*, std::optional<int64_t> T::*>;
  const char* key;
  Member member;
  Presence presence;
  double minimum = 0;
  double maximum = 0;
};

// A value as messages show it: JSON on one line, long ones cut.
std::string show_json(const Json& value);

// The member of that name, or null where it is absent or JSON null.
const Json* find_field(const Json& object, std::string_view key);

Result<int64_t> read_integer(const Json& value, double minimum, double maximum);
Result<double> read_number(const Json& value, double minimum, double maximum);
Result<bool> read_boolean(const Json& value);
Result<std::string> read_string(const Json& value);

// One id or a list of ids, each in [0, vocab_size); null gives an empty list.
Result<std::vector<int64_t>> read_token_id_list(const Json* value, int64_t vocab_size);

template <typename T>
Status read_member(const Json& value, const FieldRule<T>& rule, T& target) {
  if (const auto* integer = std::get_if<int64_t T::*>(&rule.member)) {
    FATHOM_ASSIGN_OR_RETURN(target.**integer, read_integer(value, rule.minimum, rule.maximum));
  } else if (const auto* optional = std::get_if<std::optional<int64_t> T::*>(&rule.member)) {
    FATHOM_ASSIGN_OR_RETURN(target.**optional, read_integer(value, rule.minimum, rule.maximum));
  } else if (const auto* number = std::get_if<double T::*>(&rule.member)) {
    FATHOM_ASSIGN_OR_RETURN(target.**number, read_number(value, rule.minimum, rule.maximum));
  } else if (const auto* boolean = std::get_if<bool T::*>(&rule.member)) {
    FATHOM_ASSIGN_OR_RETURN(target.**boolean, read_boolean(value));
  }
  return ok_status();
}

// Applies every rule; where starts each message, for example "/m/config.json: rope_scaling.".
template <typename T>
Status read_fields(const Json& object, const std::string& where, std::span<const FieldRule<T>> rules,
                   T& target) {
  for (const FieldRule<T>& rule : rules) {
    const Json* value = find_field(object, rule.key);
    if (value != nullptr) {
      FATHOM_RETURN_IF_ERROR(read_member(*value, rule, target).with_context(where + rule.key));
    } else if (rule.presence == Presence::kRequired) {
      return invalid_data("{}{}: {}", where, rule.key, object.contains(rule.key) ? "is null" : "is missing");
    }
  }
  return ok_status();
}

inline void write_field(Json& object, const char* key, std::optional<int64_t> value) {
  object[key] = value ? Json(*value) : Json(nullptr);
}
inline void write_field(Json& object, const char* key, int64_t value) { object[key] = value; }
inline void write_field(Json& object, const char* key, double value) { object[key] = value; }
inline void write_field(Json& object, const char* key, bool value) { object[key] = value; }

// The reverse of read_fields: every field of the table, null for an optional one without a value.
template <typename T>
void write_fields(const T& source, std::span<const FieldRule<T>> rules, Json& object) {
  for (const FieldRule<T>& rule : rules) {
    std::visit([&](auto member) { write_field(object, rule.key, source.*member); }, rule.member);
  }
}

}  // namespace fathom
