// Log lines for people who operate the program. Where they go and which levels are shown is set once, in cli.
#pragma once

#include <spdlog/spdlog.h>

#include <utility>

namespace fathom {

template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  spdlog::info(format, std::forward<Args>(args)...);
}

// Something is not as the user may think, and work goes on.
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  spdlog::warn(format, std::forward<Args>(args)...);
}

}  // namespace fathom
