// Checks for our own bugs: they print the place and the values, then abort. Whatever a user, a file or a
// peer can cause is a Status (base/status.h) and never reaches a check.
#pragma once

#include <fmt/format.h>

#include <string>

namespace fathom {

// Prints "file:line: check failed: condition: message" to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

}  // namespace fathom

// FATHOM_CHECK(n == m, "n {} m {}", n, m)
#define FATHOM_CHECK(condition, ...)                                                      \
  do {                                                                                    \
    if (!(condition)) [[unlikely]]                                                        \
      ::fathom::check_failed(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)); \
  } while (false)

#ifdef NDEBUG
#define FATHOM_DCHECK(condition, ...) \
  do {                                \
  } while (false)
#else
#define FATHOM_DCHECK(condition, ...) FATHOM_CHECK(condition, __VA_ARGS__)
#endif
