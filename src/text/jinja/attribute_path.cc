#include "text/jinja/attribute_path.h"

#include "text/jinja/operators.h"
#include "text/jinja/string_functions.h"
#include "text/jinja/unicode_text.h"

namespace fathom::jinja {

Result<Value> follow_path(Evaluator& evaluator, const Value& value, const Value& path, const Value& absent) {
  if (path.is_undefined() || path.is_none()) return value;
  Value current = value;
  if (path.is_integral()) {
    FATHOM_ASSIGN_OR_RETURN(current, get_item(evaluator, current, path));
  } else if (path.is_string()) {
    for (const std::string_view part : split_at(path.as_string(), ".", -1)) {
      const bool number =
          !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string_view::npos;
      const Value key = number ? Value::integer(std::stoi(std::string(part))) : Value::string(part);
      FATHOM_RETURN_IF_ERROR(evaluator.arena().step());
      FATHOM_ASSIGN_OR_RETURN(current, get_item(evaluator, current, key));
      if (current.is_undefined() && !absent.is_undefined()) return absent;
    }
  } else {
    return invalid_argument("attribute is a {}", type_name(path));
  }
  return current.is_undefined() && !absent.is_undefined() ? absent : current;
}

Result<Value> sort_key(Evaluator& evaluator, const Value& value, const Value& path, LetterCase letter_case,
                       const Value& absent) {
  FATHOM_ASSIGN_OR_RETURN(const Value key, follow_path(evaluator, value, path, absent));
  if (letter_case == LetterCase::kKept || !key.is_string()) return key;
  return evaluator.arena().make_string(to_lower(key.as_string()));
}

}  // namespace fathom::jinja
