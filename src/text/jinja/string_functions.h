// Functions on texts that both string methods and filters are made of. Callers count the work.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom::jinja {

// Parts between white space; after max_splits cuts the rest is one part; max_splits < 0: no limit.
std::vector<std::string_view> split_at_spaces(std::string_view text, long long max_splits);
// Parts between occurrences of a separator that is not empty.
std::vector<std::string_view> split_at(std::string_view text, std::string_view separator,
                                       long long max_splits);
// The same from the right end.
std::vector<std::string_view> split_at_from_right(std::string_view text, std::string_view separator,
                                                  long long max_splits);
// str.splitlines: without the line ends.
std::vector<std::string_view> split_lines(std::string_view text);

// How often `pattern` occurs without overlap; an empty one occurs around every character.
size_t count_occurrences(std::string_view text, std::string_view pattern);
// The first `limit` occurrences replaced; limit < 0: all.
std::string replace_all(std::string_view text, std::string_view pattern, std::string_view replacement,
                        long long limit);

// Bytes other than letters, digits and -._~/ as %XX.
std::string escape_url(std::string_view text);

}  // namespace fathom::jinja
