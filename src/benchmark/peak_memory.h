// The most memory this process has held at once since the last reset: resident pages, mapped files included.
#pragma once

#include <cstdint>

namespace fathom {

// Where the system refuses (before Linux 4.0, some containers), the peak goes on from the process's start.
void reset_peak_memory();
// Bytes; 0 where the system does not say.
uint64_t peak_memory_bytes();

}  // namespace fathom
