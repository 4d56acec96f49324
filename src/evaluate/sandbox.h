// Runs a Python program that nobody has read. It gets a process of its own in namespaces of its own: no
// network, no other processes in sight, every file system read-only but for one small folder in memory that
// vanishes with it; limits on time, memory, file size and processes; no rights of root. Where the system does
// not allow that, nothing is run.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace fathom {

struct SandboxLimits {
  int64_t seconds = 3;  // of wall clock and of CPU
  int64_t memory_bytes = int64_t{1} << 30;
  int64_t file_bytes = int64_t{1} << 20;
  int64_t processes = 16;
};

enum class SandboxVerdict { kPassed, kFailed, kTimedOut };

// kPassed: the program ran to its end; one that exits before, with whatever status, failed. Linux; python3 is
// looked for in /usr/bin, then in PATH. kUnsupported where namespaces are refused, kNotFound without python3.
Result<SandboxVerdict> run_sandboxed(std::string_view program, const SandboxLimits& limits);

// Whether programs can be run here: runs an empty one.
Status check_sandbox();

}  // namespace fathom
