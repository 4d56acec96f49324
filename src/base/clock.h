// Monotonic time in seconds, for measuring and deadlines.
#pragma once

#include <chrono>

namespace fathom {

inline double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace fathom
