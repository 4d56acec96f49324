#include "text/jinja/string_literal.h"

#include <charconv>

#include "text/utf8.h"

namespace fathom::jinja {
namespace {

// Appends the character whose code the digits give.
Status append_code(std::string_view digits, int base, size_t wanted, std::string& out) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (digits.size() != wanted || error != std::errc() || end != digits.data() + digits.size()) {
    return invalid_data("a string has an escape with too few digits");
  }
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
    return invalid_data("a string has an escape for {:#x}, which is no character", value);
  }
  append_utf8(value, out);
  return ok_status();
}

size_t count_octal(std::string_view text) {
  size_t count = 0;
  while (count < 3 && count < text.size() && text[count] >= '0' && text[count] <= '7') ++count;
  return count;
}

}  // namespace

Result<std::string> resolve_escapes(std::string_view literal) {
  constexpr std::string_view kSimple = "n\nt\tr\r\\\\''\"\"a\ab\bf\fv\v";  // letter and what it stands for
  std::string out;
  for (size_t i = 0; i < literal.size();) {
    if (literal[i] != '\\' || i + 1 == literal.size()) {
      out += literal[i++];
      continue;
    }
    const char c = literal[i + 1];
    i += 2;
    const size_t simple = kSimple.find(c);
    if (const size_t octal = count_octal(literal.substr(i - 1)); octal > 0) {
      FATHOM_RETURN_IF_ERROR(append_code(literal.substr(i - 1, octal), 8, octal, out));
      i += octal - 1;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      FATHOM_RETURN_IF_ERROR(append_code(literal.substr(i, digits), 16, digits, out));
      i += digits;
    } else if (c == 'N') {
      return unsupported("a string has \\N, which is not supported");
    } else if (simple != std::string_view::npos && simple % 2 == 0) {
      out += kSimple[simple + 1];
    } else if (c != '\n') {  // a backslash at a line's end joins the lines
      out += '\\';
      out += c;
    }
  }
  return out;
}

}  // namespace fathom::jinja
