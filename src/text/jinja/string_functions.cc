#include "text/jinja/string_functions.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/unicode_text.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

bool is_line_end(char32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool unlimited_or_below(size_t count, long long limit) {
  return limit < 0 || count < static_cast<unsigned long long>(limit);
}

}  // namespace

std::vector<std::string_view> split_at_spaces(std::string_view text, long long max_splits) {
  std::vector<std::string_view> parts;
  text = strip(text, Side::kLeft, nullptr);
  while (!text.empty()) {
    if (!unlimited_or_below(parts.size(), max_splits)) {
      parts.push_back(strip(text, Side::kRight, nullptr));
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      const CodePoint point = decode_utf8(text, end);
      if (is_space(point.value)) break;
      end += point.length;
    }
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), Side::kLeft, nullptr);
  }
  return parts;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator,
                                       long long max_splits) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  while (unlimited_or_below(parts.size(), max_splits)) {
    const size_t found = text.find(separator, begin);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(begin, found - begin));
    begin = found + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<std::string_view> split_at_from_right(std::string_view text, std::string_view separator,
                                                  long long max_splits) {
  std::vector<std::string_view> parts;
  while (unlimited_or_below(parts.size(), max_splits)) {
    const size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    const size_t end = i;
    i += point.length;
    if (!is_line_end(point.value)) continue;
    if (point.value == '\r' && i < text.size() && text[i] == '\n') ++i;
    lines.push_back(text.substr(begin, end - begin));
    begin = i;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

size_t count_occurrences(std::string_view text, std::string_view pattern) {
  if (pattern.empty()) return count_code_points(text) + 1;
  size_t count = 0;
  for (size_t at = text.find(pattern); at != std::string_view::npos;
       at = text.find(pattern, at + pattern.size())) {
    ++count;
  }
  return count;
}

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view replacement,
                        long long limit) {
  std::string out;
  size_t done = 0;
  size_t at = 0;
  if (pattern.empty()) {  // before every character and at the end
    for (const std::string_view character : split_characters(text)) {
      if (unlimited_or_below(done, limit)) {
        out += replacement;
        ++done;
      }
      out += character;
    }
    if (unlimited_or_below(done, limit)) out += replacement;
    return out;
  }
  while (unlimited_or_below(done, limit)) {
    const size_t found = text.find(pattern, at);
    if (found == std::string_view::npos) break;
    out += text.substr(at, found - at);
    out += replacement;
    at = found + pattern.size();
    ++done;
  }
  out += text.substr(at);
  return out;
}

std::string escape_url(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || c == '/';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

}  // namespace fathom::jinja
