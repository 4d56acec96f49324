// Filters that make text.
#include <algorithm>

#include "base/html.h"
#include "text/jinja/arguments.h"
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/format.h"
#include "text/jinja/named.h"
#include "text/jinja/operators.h"
#include "text/jinja/string_functions.h"
#include "text/jinja/text_helpers.h"
#include "text/jinja/unicode_text.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

constexpr Integer kMaxIndent = 1000;

// The value as text; a list prints as Python shows it.
Result<std::string_view> text_of(Evaluator& evaluator, const Value& value) {
  FATHOM_ASSIGN_OR_RETURN(const Value text, to_string_value(evaluator.arena(), value));
  FATHOM_RETURN_IF_ERROR(evaluator.arena().scan(text.as_string().size()));
  return text.as_string();
}

template <std::string (*kMap)(std::string_view)>
Result<Value> map_text(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  FATHOM_ASSIGN_OR_RETURN(const std::string_view text, text_of(evaluator, value));
  return evaluator.arena().make_string(kMap(text));
}

Result<Value> trim(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"chars"}));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view text, text_of(evaluator, value));
  if (!bound.has(0) || bound[0].is_none()) return Value::string(strip(text, Side::kBoth, nullptr));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view set, bound.text(0, ""));
  return Value::string(strip(text, Side::kBoth, &set));
}

Result<Value> to_string(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  return to_string_value(evaluator.arena(), value);
}

Result<Value> replace(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"old", "new", "count"}, 2));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view text, text_of(evaluator, value));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view pattern, text_of(evaluator, bound[0]));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view replacement, text_of(evaluator, bound[1]));
  Integer limit = -1;
  if (bound.has(2) && !bound[2].is_none()) {
    FATHOM_ASSIGN_OR_RETURN(limit, bound.integer(2, -1));
  }
  return replace_text(evaluator, text, pattern, replacement, limit);
}

Result<Value> indent(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"width", "first", "blank"}));
  if (!value.is_string()) return invalid_argument("a {} is not a str", type_name(value));
  FATHOM_ASSIGN_OR_RETURN(const bool first, bound.boolean(1, false));
  FATHOM_ASSIGN_OR_RETURN(const bool blank, bound.boolean(2, false));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view text, text_of(evaluator, value));
  std::string indention;
  if (bound.has(0) && bound[0].is_string()) {
    indention = bound[0].as_string();
  } else {
    FATHOM_ASSIGN_OR_RETURN(const Integer width, bound.integer(0, 4));
    indention.assign(static_cast<size_t>(std::clamp<Integer>(width, 0, kMaxIndent)), ' ');
  }
  const std::string with_end = std::string(text) + "\n";
  const std::vector<std::string_view> lines = split_lines(with_end);
  FATHOM_RETURN_IF_ERROR(evaluator.arena().charge(text.size() + (lines.size() + 1) * (indention.size() + 1)));
  std::string out = first ? indention : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) {
      out += '\n';
      if (blank || !lines[i].empty()) out += indention;
    }
    out += lines[i];
  }
  return evaluator.arena().keep_charged(std::move(out));
}

Result<Value> center(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"width"}));
  FATHOM_ASSIGN_OR_RETURN(const Integer wanted, bound.integer(0, 80));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view text, text_of(evaluator, value));
  const auto width = static_cast<size_t>(std::clamp<Integer>(wanted, 0, 100 * kMaxIndent));
  const size_t length = count_code_points(text);
  if (length >= width) return Value::string(text);
  const size_t space = width - length;
  const size_t left = space / 2 + (space & width & 1);  // as str.center does
  return evaluator.arena().make_string(std::string(left, ' ') + std::string(text) +
                                       std::string(space - left, ' '));
}

Result<Value> truncate(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"length", "killwords", "end", "leeway"}));
  if (!value.is_string()) return invalid_argument("a {} is not a str", type_name(value));
  FATHOM_ASSIGN_OR_RETURN(const Integer length, bound.integer(0, 255));
  FATHOM_ASSIGN_OR_RETURN(const bool cut_words, bound.boolean(1, false));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view end, bound.text(2, "..."));
  FATHOM_ASSIGN_OR_RETURN(const Integer leeway, bound.integer(3, 5));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view text, text_of(evaluator, value));
  const std::vector<std::string_view> characters = split_characters(text);
  const auto end_length = static_cast<Integer>(count_code_points(end));
  if (length < end_length || leeway < 0) return invalid_argument("length {} is too short", length);
  if (static_cast<Integer>(characters.size()) - leeway <= length) return Value::string(text);
  std::string out;
  for (Integer i = 0; i < length - end_length; ++i) out += characters[static_cast<size_t>(i)];
  if (!cut_words) out = out.substr(0, out.rfind(' '));
  return evaluator.arena().make_string(out + std::string(end));
}

// The filter, unlike the method: a word begins at the start and after white space or one of - ( { [ <.
Result<Value> title(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  FATHOM_ASSIGN_OR_RETURN(const std::string_view text, text_of(evaluator, value));
  const auto begins_word = [](std::string_view character) {
    return std::string_view("-({[<").find(character) != std::string_view::npos ||
           strip(character, Side::kBoth, nullptr).empty();
  };
  std::string out;
  bool at_start = true;
  for (const std::string_view character : split_characters(text)) {
    out += at_start ? to_capitalized(character) : to_lower(character);
    at_start = begins_word(character);
  }
  return evaluator.arena().make_string(std::move(out));
}

Result<Value> url_encode(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  if (!value.is_string()) return unsupported("a {} is not a str", type_name(value));
  FATHOM_RETURN_IF_ERROR(evaluator.arena().charge(3 * value.as_string().size()));
  return evaluator.arena().keep_charged(escape_url(value.as_string()));
}

// Runs of letters, digits and underscores; outside ASCII, of all but white space and common punctuation.
Result<Value> word_count(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  FATHOM_ASSIGN_OR_RETURN(const std::string_view text, text_of(evaluator, value));
  const auto is_word = [](char32_t c) {
    if (c < 0x80)
      return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool punctuation = c < 0xAA || (c >= 0x2000 && c <= 0x206F) || (c >= 0x3000 && c <= 0x3004) ||
                             (c >= 0x3008 && c <= 0x3020) || (c >= 0xFF01 && c <= 0xFF0F);
    return !punctuation && !is_space(c);
  };
  Integer count = 0;
  bool in_word = false;
  for (const std::string_view character : split_characters(text)) {
    const bool word = is_word(decode_utf8(character, 0).value);
    count += word && !in_word ? 1 : 0;
    in_word = word;
  }
  return Value::integer(count);
}

Result<Value> format(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  if (!arguments.named.empty()) return unsupported("named values are not supported");
  FATHOM_ASSIGN_OR_RETURN(const std::string_view text, text_of(evaluator, value));
  FATHOM_ASSIGN_OR_RETURN(const Value values, evaluator.arena().make_tuple(arguments.positional));
  return format_printf(evaluator, text, values);
}

Result<Value> tojson(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::bind(arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  FATHOM_ASSIGN_OR_RETURN(style.ensure_ascii, bound.boolean(0, false));
  FATHOM_ASSIGN_OR_RETURN(style.sort_keys, bound.boolean(3, false));
  if (bound.has(1) && !bound[1].is_none()) {
    if (bound[1].is_string()) {
      style.indent = std::string(bound[1].as_string());
      if (style.indent->size() > kMaxIndent)
        return resource_exhausted("indent is over the limit of {} bytes", kMaxIndent);
    } else {
      FATHOM_ASSIGN_OR_RETURN(const Integer width, bound.integer(1, 0));
      style.indent = std::string(static_cast<size_t>(std::clamp<Integer>(width, 0, kMaxIndent)), ' ');
    }
    style.item_separator = ",";
  }
  if (bound.has(2) && !bound[2].is_none()) {
    const bool pair = bound[2].is_sequence() && bound[2].as_list().size() == 2;
    if (!pair || !bound[2].as_list()[0].is_string() || !bound[2].as_list()[1].is_string()) {
      return invalid_argument("separators are not two texts");
    }
    style.item_separator = std::string(bound[2].as_list()[0].as_string());
    style.key_separator = std::string(bound[2].as_list()[1].as_string());
  }
  FATHOM_ASSIGN_OR_RETURN(std::string json, to_json(evaluator.arena(), value, style));
  return evaluator.arena().keep_charged(std::move(json));
}

constexpr Named<FilterFunction> kTextFilters[] = {
    {"trim", trim},
    {"string", to_string},
    {"safe", to_string},
    {"upper", map_text<to_upper>},
    {"lower", map_text<to_lower>},
    {"title", title},
    {"capitalize", map_text<to_capitalized>},
    {"e", map_text<escape_html>},
    {"escape", map_text<escape_html>},
    {"urlencode", url_encode},
    {"replace", replace},
    {"indent", indent},
    {"center", center},
    {"truncate", truncate},
    {"wordcount", word_count},
    {"format", format},
    {"tojson", tojson},
};

}  // namespace

FilterFunction find_text_filter(std::string_view name) { return find_named(kTextFilters, name); }

}  // namespace fathom::jinja
