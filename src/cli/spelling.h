// What is wrong with a command line that the library refused: the first command or option that does not
// exist, with the one that was perhaps meant.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace fathom {

// The candidate with the fewest letters to change, add, leave out or exchange with the next, if these are
// less than half of word's. The first of several.
std::optional<std::string> nearest_word(std::string_view word, std::span<const std::string> candidates);

// None where every command and option exists. The arguments are without the program's name.
std::optional<std::string> unknown_word(const CLI::App& app, std::span<const std::string> arguments);

}  // namespace fathom
