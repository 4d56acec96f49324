// The methods of strings.
#include <algorithm>
#include <optional>

#include "text/jinja/arguments.h"
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/format.h"
#include "text/jinja/named.h"
#include "text/jinja/operators.h"
#include "text/jinja/string_functions.h"
#include "text/jinja/text_helpers.h"
#include "text/jinja/unicode_text.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

Status count_work(Evaluator& evaluator, const Value& self) {
  return evaluator.arena().scan(self.as_string().size());
}

template <Side kSide>
Result<Value> strip_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"chars"}));
  FATHOM_RETURN_IF_ERROR(count_work(evaluator, self));
  if (!bound.has(0) || bound[0].is_none()) return Value::string(strip(self.as_string(), kSide, nullptr));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view set, bound.text(0, ""));
  return Value::string(strip(self.as_string(), kSide, &set));
}

template <std::string (*kMap)(std::string_view)>
Result<Value> map_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  return evaluator.arena().make_string(kMap(self.as_string()));
}

enum class From { kLeft, kRight };

template <From kFrom>
Result<Value> split_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"sep", "maxsplit"}));
  FATHOM_ASSIGN_OR_RETURN(const Integer limit, bound.integer(1, -1));
  FATHOM_RETURN_IF_ERROR(count_work(evaluator, self));
  const std::string_view text = self.as_string();
  if (!bound.has(0) || bound[0].is_none()) {
    if (kFrom == From::kRight && limit >= 0) {
      return unsupported("rsplit at white space with a limit is not supported");
    }
    return list_of_texts(evaluator, split_at_spaces(text, clamp_count(limit)));
  }
  FATHOM_ASSIGN_OR_RETURN(const std::string_view separator, bound.text(0, ""));
  if (separator.empty()) return invalid_argument("split: empty separator");
  return list_of_texts(evaluator, kFrom == From::kLeft
                                      ? split_at(text, separator, clamp_count(limit))
                                      : split_at_from_right(text, separator, clamp_count(limit)));
}

Result<Value> split_lines_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  FATHOM_RETURN_IF_ERROR(count_work(evaluator, self));
  return list_of_texts(evaluator, split_lines(self.as_string()));
}

template <From kFrom>
Result<Value> partition_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"sep"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view separator, bound.text(0, ""));
  FATHOM_RETURN_IF_ERROR(count_work(evaluator, self));
  if (separator.empty()) return invalid_argument("partition: empty separator");
  const std::string_view text = self.as_string();
  const size_t at = kFrom == From::kLeft ? text.find(separator) : text.rfind(separator);
  const Value empty = Value::string("");
  if (at == std::string_view::npos) {
    return evaluator.arena().make_tuple(kFrom == From::kLeft ? List{self, empty, empty}
                                                             : List{empty, empty, self});
  }
  return evaluator.arena().make_tuple({Value::string(text.substr(0, at)), Value::string(separator),
                                       Value::string(text.substr(at + separator.size()))});
}

// One text or a tuple of them.
template <From kFrom>
Result<Value> begins_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"affix"}, 1));
  const List one = {bound[0]};
  const List& affixes = bound[0].kind() == Value::Kind::kTuple ? bound[0].as_list() : one;
  for (const Value& affix : affixes) {
    if (!affix.is_string()) return invalid_argument("a {} is not a str", type_name(affix));
    FATHOM_RETURN_IF_ERROR(evaluator.arena().scan(affix.as_string().size()));
    const bool holds = kFrom == From::kLeft ? self.as_string().starts_with(affix.as_string())
                                            : self.as_string().ends_with(affix.as_string());
    if (holds) return Value::boolean(true);
  }
  return Value::boolean(false);
}

template <From kFrom>
Result<Value> remove_affix_method(Evaluator&, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"affix"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view affix, bound.text(0, ""));
  std::string_view text = self.as_string();
  if (kFrom == From::kLeft && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (kFrom == From::kRight && text.ends_with(affix)) text.remove_suffix(affix.size());
  return Value::string(text);
}

Result<Value> replace_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"old", "new", "count"}, 2));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view pattern, bound.text(0, ""));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view replacement, bound.text(1, ""));
  FATHOM_ASSIGN_OR_RETURN(const Integer limit, bound.integer(2, -1));
  return replace_text(evaluator, self.as_string(), pattern, replacement, limit);
}

// Positions count characters.
template <From kFrom>
Result<Value> find_text_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"sub"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view pattern, bound.text(0, ""));
  FATHOM_RETURN_IF_ERROR(count_work(evaluator, self));
  const std::string_view text = self.as_string();
  const size_t at = kFrom == From::kLeft ? text.find(pattern) : text.rfind(pattern);
  if (at == std::string_view::npos) return Value::integer(-1);
  return Value::integer(static_cast<Integer>(count_code_points(text.substr(0, at))));
}

Result<Value> count_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"sub"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view pattern, bound.text(0, ""));
  FATHOM_RETURN_IF_ERROR(count_work(evaluator, self));
  return Value::integer(static_cast<Integer>(count_occurrences(self.as_string(), pattern)));
}

Result<Value> join_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"iterable"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items(evaluator, bound[0]));
  for (const Value& item : *items) {
    if (!item.is_string()) return invalid_argument("join: a {} is not a str", type_name(item));
  }
  return join_texts(evaluator, *items, self.as_string());
}

bool is_ascii_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Whether there is a character and all are of the kind. Letters outside ASCII are known by their case, or by
// lying in a script of ideographs or syllables.
bool is_letter(char32_t c) {
  return is_ascii_letter(c) || (c >= 0x80 && has_case(c)) || (c >= 0x3041 && c <= 0x9FFF && c != 0x30FB) ||
         (c >= 0xAC00 && c <= 0xD7A3);
}
bool is_decimal(char32_t c) { return is_numeric(c); }
bool is_letter_or_number(char32_t c) { return is_letter(c) || is_numeric(c); }

template <bool (*kKind)(char32_t)>
Result<Value> all_of_kind_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  FATHOM_RETURN_IF_ERROR(count_work(evaluator, self));
  const std::string_view text = self.as_string();
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    if (!kKind(point.value)) return Value::boolean(false);
    i += point.length;
  }
  return Value::boolean(!text.empty());
}

template <std::string (*kMap)(std::string_view)>
Result<Value> is_case_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  FATHOM_RETURN_IF_ERROR(count_work(evaluator, self));
  const std::string_view text = self.as_string();
  bool any = false;
  for (const std::string_view character : split_characters(text)) {
    any = any || has_case(decode_utf8(character, 0).value);
  }
  return Value::boolean(any && kMap(text) == text);
}

// "{} {0} {name}", without format specifications.
Result<Value> format_method(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  const std::string_view text = self.as_string();
  FATHOM_RETURN_IF_ERROR(count_work(evaluator, self));
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      out += c;
      i += 2;
      continue;
    }
    if (c == '}') return invalid_argument("format: a single \"}}\"");
    if (c != '{') {
      out += c;
      ++i;
      continue;
    }
    const size_t end = text.find('}', i);
    if (end == std::string_view::npos) return invalid_argument("format: a single \"{{\"");
    const std::string_view field = text.substr(i + 1, end - i - 1);
    i = end + 1;
    const Value* value = nullptr;
    const bool is_number =
        field.find_first_not_of("0123456789") == std::string_view::npos && field.size() < 6;
    if (is_number) {
      const size_t index = field.empty() ? next++ : static_cast<size_t>(std::stoul(std::string(field)));
      if (index < arguments.positional.size()) value = &arguments.positional[index];
    }
    for (const auto& [name, named] : arguments.named) {
      if (name == field) value = &named;
    }
    if (value == nullptr)
      return invalid_argument("format: nothing for the field \"{}\"", field.substr(0, 64));
    FATHOM_ASSIGN_OR_RETURN(const std::string part, to_text(evaluator.arena(), *value));
    out += part;
  }
  return evaluator.arena().make_string(std::move(out));
}

constexpr Named<Method> kStringMethods[] = {
    {"strip", strip_method<Side::kBoth>},
    {"lstrip", strip_method<Side::kLeft>},
    {"rstrip", strip_method<Side::kRight>},
    {"upper", map_method<to_upper>},
    {"lower", map_method<to_lower>},
    {"title", map_method<to_title>},
    {"capitalize", map_method<to_capitalized>},
    {"split", split_method<From::kLeft>},
    {"rsplit", split_method<From::kRight>},
    {"splitlines", split_lines_method},
    {"partition", partition_method<From::kLeft>},
    {"rpartition", partition_method<From::kRight>},
    {"startswith", begins_method<From::kLeft>},
    {"endswith", begins_method<From::kRight>},
    {"removeprefix", remove_affix_method<From::kLeft>},
    {"removesuffix", remove_affix_method<From::kRight>},
    {"replace", replace_method},
    {"find", find_text_method<From::kLeft>},
    {"rfind", find_text_method<From::kRight>},
    {"count", count_method},
    {"join", join_method},
    {"format", format_method},
    {"isspace", all_of_kind_method<is_space>},
    {"isdigit", all_of_kind_method<is_decimal>},
    {"isnumeric", all_of_kind_method<is_decimal>},
    {"isalpha", all_of_kind_method<is_letter>},
    {"isalnum", all_of_kind_method<is_letter_or_number>},
    {"isupper", is_case_method<to_upper>},
    {"islower", is_case_method<to_lower>},
};

}  // namespace

Method find_string_method(std::string_view name) { return find_named(kStringMethods, name); }

}  // namespace fathom::jinja
