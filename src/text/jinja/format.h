// Values as text: what {{ value }} prints, Python's repr of what lies inside lists, and JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "text/jinja/arena.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

// str(value): strings as they are, undefined as nothing, everything else as Python prints it. Counts the
// size.
Result<std::string> to_text(Arena& arena, const Value& value);
// The same as a string value; strings are passed through.
Result<Value> to_string_value(Arena& arena, const Value& value);

// Python's repr of a float: the shortest digits that give the same number back, 1e+20 and 1e-07 in this form.
std::string format_real(double value);
std::string format_integer(Integer value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // one level; nothing: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// json.dumps(value). Fails on undefined values and on things to call.
Result<std::string> to_json(Arena& arena, const Value& value, const JsonStyle& style);

}  // namespace fathom::jinja
