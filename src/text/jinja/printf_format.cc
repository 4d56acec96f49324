// Python's text % values, as far as templates use it: %s %r %d %i %x %f %e %g %%, with "-", "0", width and
// precision.
#include <algorithm>
#include <cmath>

#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode_text.h"

namespace fathom::jinja {
namespace {

constexpr int kMaxWidth = 10'000;

struct Directive {
  bool left = false;
  bool zeros = false;
  int width = 0;
  int precision = -1;  // not given
  char type = '\0';
};

// Reads digits at `at`, up to kMaxWidth.
int read_number(std::string_view text, size_t& at) {
  int number = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    number = std::min(number * 10 + (text[at++] - '0'), kMaxWidth);
  }
  return number;
}

// The part after '%'.
Result<Directive> read_directive(std::string_view text, size_t& at) {
  Directive directive;
  for (; at < text.size() && (text[at] == '-' || text[at] == '0'); ++at) {
    (text[at] == '-' ? directive.left : directive.zeros) = true;
  }
  directive.width = read_number(text, at);
  if (at < text.size() && text[at] == '.') {
    ++at;
    directive.precision = read_number(text, at);
  }
  constexpr std::string_view kTypes = "srdixfeg%";
  if (at == text.size() || kTypes.find(text[at]) == std::string_view::npos) {
    return unsupported("a format with \"%{}\"", text.substr(at, 1));
  }
  directive.type = text[at++];
  return directive;
}

Result<std::string> format_number(const Directive& directive, const Value& value) {
  if (!value.is_number()) return invalid_argument("%{} with a {}", directive.type, type_name(value));
  const int precision = directive.precision < 0 ? 6 : std::min(directive.precision, 100);
  switch (directive.type) {
    case 'd':
    case 'i':
      if (!value.is_integral()) return fmt::format("{:.0f}", std::trunc(value.as_real()));
      return format_integer(value.as_integer());
    case 'x':
      if (!value.is_integral()) return invalid_argument("%x with a {}", type_name(value));
      return fmt::format("{:x}", value.as_integer());
    case 'f':
      return fmt::format("{:.{}f}", value.as_real(), precision);
    case 'e':
      return fmt::format("{:.{}e}", value.as_real(), precision);
    default:
      return fmt::format("{:.{}g}", value.as_real(), precision);
  }
}

Result<std::string> format_one(Arena& arena, const Directive& directive, const Value& value) {
  if (directive.type != 's' && directive.type != 'r') return format_number(directive, value);
  std::string text;
  if (directive.type == 'r' && value.is_string()) {
    FATHOM_ASSIGN_OR_RETURN(const Value one, arena.make_list({value}));
    FATHOM_ASSIGN_OR_RETURN(text, to_text(arena, one));
    text = text.substr(1, text.size() - 2);  // without the brackets
  } else {
    FATHOM_ASSIGN_OR_RETURN(text, to_text(arena, value));
  }
  if (directive.precision < 0) return text;
  std::string cut;
  const std::vector<std::string_view> characters = split_characters(text);
  for (size_t i = 0; i < characters.size() && i < static_cast<size_t>(directive.precision); ++i)
    cut += characters[i];
  return cut;
}

std::string pad(const Directive& directive, std::string text) {
  const size_t length = count_code_points(text);
  const auto width = static_cast<size_t>(directive.width);
  if (length >= width) return text;
  const std::string fill(width - length, directive.zeros && !directive.left ? '0' : ' ');
  if (directive.left) return text + fill;
  if (directive.zeros && text.starts_with('-')) return "-" + fill + text.substr(1);
  return fill + text;
}

}  // namespace

Result<Value> format_printf(Evaluator& evaluator, std::string_view text, const Value& arguments) {
  Arena& arena = evaluator.arena();
  FATHOM_RETURN_IF_ERROR(arena.scan(text.size()));
  const bool is_tuple = arguments.kind() == Value::Kind::kTuple;
  const size_t count = is_tuple ? arguments.as_list().size() : 1;
  size_t used = 0;
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '%') {
      out += text[at++];
      continue;
    }
    ++at;
    FATHOM_ASSIGN_OR_RETURN(const Directive directive, read_directive(text, at));
    if (directive.type == '%') {
      out += '%';
      continue;
    }
    if (used == count) return invalid_argument("too few values for the format");
    const Value& value = is_tuple ? arguments.as_list()[used] : arguments;
    ++used;
    FATHOM_ASSIGN_OR_RETURN(std::string part, format_one(arena, directive, value));
    FATHOM_RETURN_IF_ERROR(arena.charge(static_cast<size_t>(directive.width)));
    out += pad(directive, std::move(part));
  }
  // A list or dict need not be used.
  const bool must_be_used = is_tuple || (!arguments.is_sequence() && !arguments.is_dict());
  if (must_be_used && used < count) return invalid_argument("too many values for the format");
  return arena.make_string(std::move(out));
}

}  // namespace fathom::jinja
