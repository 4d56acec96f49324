#include "cli/spelling.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

namespace fathom {
namespace {

size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> best(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        best[i][j] = i + j;
        continue;
      }
      const size_t change = best[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      best[i][j] = std::min({change, best[i - 1][j] + 1, best[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        best[i][j] = std::min(best[i][j], best[i - 2][j - 2] + 1);
    }
  }
  return best.back().back();
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::string describe(std::string_view word, const char* what, const CLI::App& app,
                     const std::vector<std::string>& known) {
  const auto meant = nearest_word(word, known);
  const std::string command = app.get_parent() == nullptr ? "fathom" : app.get_display_name();
  return fmt::format("{} is no {} of {}: {}", word, what, command,
                     meant ? fmt::format("did you mean {}?", *meant) : "see --help");
}

}  // namespace

std::optional<std::string> nearest_word(std::string_view word, std::span<const std::string> candidates) {
  std::optional<std::string> nearest;
  size_t least = (word.size() + 1) / 2;
  for (const std::string& candidate : candidates) {
    const size_t changes = distance(word, candidate);
    if (changes >= least) continue;
    least = changes;
    nearest = candidate;
  }
  return nearest;
}

std::optional<std::string> unknown_word(const CLI::App& app, std::span<const std::string> arguments) {
  const CLI::App* command = &app;
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument.starts_with("--")) {
      const std::string name = argument.substr(0, argument.find('='));
      if (command->get_option_no_throw(name) == nullptr)
        return describe(name, "option", *command, option_names(*command));
    } else if (!argument.starts_with('-')) {
      const std::vector<std::string> commands = command_names(*command);
      if (commands.empty()) continue;
      if (std::find(commands.begin(), commands.end(), argument) == commands.end())
        return describe(argument, "command", *command, commands);
      command = command->get_subcommand(argument);
    }
  }
  return std::nullopt;
}

}  // namespace fathom
