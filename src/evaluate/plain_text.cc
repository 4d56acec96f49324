#include "evaluate/plain_text.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "text/utf8.h"

namespace fathom {
namespace {

// The bytes of the character that begins at text[0]; text is not empty.
size_t character_size(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t wanted = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
  if (wanted > text.size()) return 1;
  for (size_t i = 1; i < wanted; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 1;
  }
  return wanted;
}

uint32_t code_point(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead;
  uint32_t code = lead & (0xFFu >> (character.size() + 1));
  for (size_t i = 1; i < character.size(); ++i) {
    code = (code << 6) | (static_cast<unsigned char>(character[i]) & 0x3F);
  }
  return code;
}

bool is_space(std::string_view character) {
  // What Python's str.isspace says beyond U+2000 to U+200A.
  static constexpr uint32_t kOther[] = {0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
  const uint32_t code = code_point(character);
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x1F) ||
         (code >= 0x2000 && code <= 0x200A) ||
         std::find(std::begin(kOther), std::end(kOther), code) != std::end(kOther);
}

// Capitals in [first, last], each `step` after the one before and `offset` before its small letter.
struct Capitals {
  uint32_t first, last, step, offset;
};
constexpr Capitals kCapitals[] = {
    {'A', 'Z', 1, 32},      {0xC0, 0xD6, 1, 32},    {0xD8, 0xDE, 1, 32},   {0x100, 0x12E, 2, 1},
    {0x132, 0x136, 2, 1},   {0x139, 0x147, 2, 1},   {0x14A, 0x176, 2, 1},  {0x179, 0x17D, 2, 1},
    {0x386, 0x386, 1, 38},  {0x388, 0x38A, 1, 37},  {0x38C, 0x38C, 1, 64}, {0x38E, 0x38F, 1, 63},
    {0x391, 0x3A1, 1, 32},  {0x3A3, 0x3AB, 1, 32},  {0x400, 0x40F, 1, 80}, {0x410, 0x42F, 1, 32},
    {0x460, 0x480, 2, 1},   {0x48A, 0x4BE, 2, 1},   {0x4D0, 0x52E, 2, 1},  {0x1E00, 0x1E94, 2, 1},
    {0x1EA0, 0x1EFE, 2, 1}, {0xFF21, 0xFF3A, 1, 32}};

}  // namespace

std::string to_lower(std::string_view text) {
  std::string out;
  for (std::string_view character : split_characters(text)) {
    const uint32_t code = code_point(character);
    const auto capitals = std::find_if(std::begin(kCapitals), std::end(kCapitals), [&](const Capitals& one) {
      return code >= one.first && code <= one.last && (code - one.first) % one.step == 0;
    });
    if (capitals == std::end(kCapitals) || (character.size() == 1 && code >= 0x80)) {
      out += character;
    } else {
      append_utf8(static_cast<char32_t>(code + capitals->offset), out);
    }
  }
  return out;
}

std::vector<std::string_view> split_characters(std::string_view text) {
  std::vector<std::string_view> characters;
  for (size_t at = 0; at < text.size(); at += characters.back().size()) {
    characters.push_back(text.substr(at, character_size(text.substr(at))));
  }
  return characters;
}

size_t count_characters(std::string_view text) { return split_characters(text).size(); }

std::string_view strip_end(std::string_view text) {
  size_t end = 0;
  for (std::string_view character : split_characters(text)) {
    if (!is_space(character)) end = static_cast<size_t>(character.data() - text.data()) + character.size();
  }
  return text.substr(0, end);
}

std::string_view strip(std::string_view text) {
  text = strip_end(text);
  while (!text.empty()) {
    const size_t size = character_size(text);
    if (!is_space(text.substr(0, size))) break;
    text.remove_prefix(size);
  }
  return text;
}

std::string without_white_space(std::string_view text) {
  std::string kept;
  for (std::string_view character : split_characters(text)) {
    if (!is_space(character)) kept += character;
  }
  return kept;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + separator.size();
  }
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace fathom
