// How an answer about a hidden fact is scored.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace fathom {

// 1 where the keyword occurs in the answer; else 0.2 times the likeness of answer and needle, [0, 1].
double needle_score(std::string_view answer, std::string_view needle, std::string_view keyword);

// Levenshtein's distance, in elements.
size_t edit_distance(std::span<const std::string_view> a, std::span<const std::string_view> b);

}  // namespace fathom
