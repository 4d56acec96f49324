// Strings as Python sees them: sequences of code points, with its notions of space and case. Case is mapped
// for Latin, Greek, Cyrillic, Armenian and fullwidth letters; other letters stay as they are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::jinja {

// All texts are well-formed UTF-8.

// White space of str.isspace, strip() and split().
bool is_space(char32_t value);
// Whether repr() shows the character as it is.
bool is_printable(char32_t value);

size_t count_code_points(std::string_view text);
// The characters, each a part of text.
std::vector<std::string_view> split_characters(std::string_view text);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
// First letter upper, the rest lower.
std::string to_capitalized(std::string_view text);
// str.title: a letter after anything but a letter is upper, the others lower.
std::string to_title(std::string_view text);
bool has_case(char32_t value);

enum class Side { kLeft, kRight, kBoth };
// Removes the characters of `set` from the ends, or white space where set is null.
std::string_view strip(std::string_view text, Side side, const std::string_view* set);

}  // namespace fathom::jinja
