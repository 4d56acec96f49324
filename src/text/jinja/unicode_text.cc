#include "text/jinja/unicode_text.h"

#include "text/unicode.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

// Letters [first, last] whose upper form lies at a distance, or alternates with the lower one.
struct CaseRange {
  char32_t first;  // of the lower case letters
  char32_t last;
  int distance;  // upper = lower - distance; kPairs: each upper letter stands before its lower one
};
constexpr int kPairs = 0;

constexpr CaseRange kCaseRanges[] = {
    {0x61, 0x7A, 32},       {0xE0, 0xF6, 32},         {0xF8, 0xFE, 32},         {0xFF, 0xFF, -121},
    {0x101, 0x12F, kPairs}, {0x133, 0x137, kPairs},   {0x13A, 0x148, kPairs},   {0x14B, 0x177, kPairs},
    {0x17A, 0x17E, kPairs}, {0x3AC, 0x3AC, 38},       {0x3AD, 0x3AF, 37},       {0x3B1, 0x3C1, 32},
    {0x3C3, 0x3CB, 32},     {0x3CC, 0x3CC, 64},       {0x3CD, 0x3CE, 63},       {0x430, 0x44F, 32},
    {0x450, 0x45F, 80},     {0x461, 0x481, kPairs},   {0x48B, 0x4BF, kPairs},   {0x4D1, 0x52F, kPairs},
    {0x561, 0x586, 48},     {0x1E01, 0x1E95, kPairs}, {0x1EA1, 0x1EFF, kPairs}, {0xFF41, 0xFF5A, 32},
};

char32_t upper_of(char32_t c) {
  for (const CaseRange& range : kCaseRanges) {
    if (c < range.first || c > range.last) continue;
    if (range.distance != kPairs) return static_cast<char32_t>(static_cast<int>(c) - range.distance);
    return (c - range.first) % 2 == 0 ? c - 1 : c;
  }
  return c == 0x3C2 ? 0x3A3 : c == 0xB5 ? 0x39C : c;  // final sigma, micro sign
}

char32_t lower_of(char32_t c) {
  for (const CaseRange& range : kCaseRanges) {
    const char32_t first = static_cast<char32_t>(static_cast<int>(range.first) - range.distance);
    const char32_t last = static_cast<char32_t>(static_cast<int>(range.last) - range.distance);
    if (range.distance != kPairs) {
      if (c >= first && c <= last && c != 0x3A2)
        return static_cast<char32_t>(static_cast<int>(c) + range.distance);
      continue;
    }
    if (c + 1 >= range.first && c + 1 <= range.last && (c + 1 - range.first) % 2 == 0) return c + 1;
  }
  return c;
}

constexpr char32_t kSharpS = 0xDF;

void append_upper(char32_t c, std::string& out) {
  if (c == kSharpS) {
    out += "SS";
  } else {
    append_utf8(upper_of(c), out);
  }
}

enum class WordCase { kFirstOnly, kEveryWord };

std::string to_word_case(std::string_view text, WordCase words) {
  std::string out;
  bool at_start = true;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    if (at_start && point.value == kSharpS) {
      out += "Ss";
    } else {
      append_utf8(at_start ? upper_of(point.value) : lower_of(point.value), out);
    }
    at_start = words == WordCase::kEveryWord && !has_case(point.value);
    i += point.length;
  }
  return out;
}

bool in_set(std::string_view character, const std::string_view* set) {
  if (set == nullptr) return is_space(decode_utf8(character, 0).value);
  return set->find(character) != std::string_view::npos;
}

}  // namespace

bool is_space(char32_t value) { return is_white_space(value) || (value >= 0x1C && value <= 0x1F); }

bool is_printable(char32_t value) {
  struct Range {
    char32_t first;
    char32_t last;
  };
  // Control, format, private use, surrogate and separator characters, as far as texts have them.
  constexpr Range kHidden[] = {{0, 0x1F},          {0x7F, 0xA0},       {0xAD, 0xAD},     {0x600, 0x605},
                               {0x61C, 0x61C},     {0x1680, 0x1680},   {0x180E, 0x180E}, {0x2000, 0x200F},
                               {0x2028, 0x202F},   {0x205F, 0x206F},   {0x3000, 0x3000}, {0xD800, 0xF8FF},
                               {0xFEFF, 0xFEFF},   {0xFFF0, 0xFFFB},   {0xFFFE, 0xFFFF}, {0x1D173, 0x1D17A},
                               {0xE0000, 0xE00FF}, {0xE01F0, 0x10FFFF}};
  for (const Range& range : kHidden) {
    if (value >= range.first && value <= range.last) return false;
  }
  return true;
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

std::vector<std::string_view> split_characters(std::string_view text) {
  std::vector<std::string_view> characters;
  for (size_t i = 0; i < text.size();) {
    const size_t length = decode_utf8(text, i).length;
    characters.push_back(text.substr(i, length));
    i += length;
  }
  return characters;
}

std::string to_upper(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    append_upper(point.value, out);
    i += point.length;
  }
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    append_utf8(lower_of(point.value), out);
    i += point.length;
  }
  return out;
}

std::string to_capitalized(std::string_view text) { return to_word_case(text, WordCase::kFirstOnly); }
std::string to_title(std::string_view text) { return to_word_case(text, WordCase::kEveryWord); }

bool has_case(char32_t value) {
  return value == kSharpS || upper_of(value) != value || lower_of(value) != value;
}

std::string_view strip(std::string_view text, Side side, const std::string_view* set) {
  if (side != Side::kRight) {
    while (!text.empty()) {
      const size_t length = decode_utf8(text, 0).length;
      if (!in_set(text.substr(0, length), set)) break;
      text.remove_prefix(length);
    }
  }
  if (side != Side::kLeft) {
    while (!text.empty()) {
      size_t begin = text.size() - 1;
      while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
      if (!in_set(text.substr(begin), set)) break;
      text.remove_suffix(text.size() - begin);
    }
  }
  return text;
}

}  // namespace fathom::jinja
