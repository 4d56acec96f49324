// Text the way Python's str sees it, which is how the conventions of evaluation are written down. All text is
// UTF-8; ill-formed bytes count as one character each.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

// Without the white space (Python's str.isspace) at both ends, or at the end alone.
std::string_view strip(std::string_view text);
std::string_view strip_end(std::string_view text);

// Characters (code points), as len() counts.
size_t count_characters(std::string_view text);
// The characters one by one.
std::vector<std::string_view> split_characters(std::string_view text);
// Every white space character left out.
std::string without_white_space(std::string_view text);

// Capitals as small letters, in the scripts of Europe and the wide Latin of Chinese texts; others as they
// are.
std::string to_lower(std::string_view text);

// Parts between separators; always at least one.
std::vector<std::string_view> split(std::string_view text, std::string_view separator);
std::string replace_all(std::string text, std::string_view from, std::string_view to);

}  // namespace fathom
