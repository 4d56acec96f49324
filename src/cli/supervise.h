// A command's life as `fathom launch` wants mpirun's: signals are handed on, failures repeated, nothing is
// left behind.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom {

// How often, and how long after its end, a command that fails is started again.
class RestartPolicy {
 public:
  // num_restarts: in a row; a run of kGoodRun begins a new row.
  explicit RestartPolicy(int num_restarts) : num_restarts_(num_restarts) {}

  // After a run that lasted so long and failed: how long to wait; nullopt: it is not started again.
  std::optional<std::chrono::seconds> after_failure(std::chrono::seconds lasted);
  // Restarts of the row so far.
  int num_done() const { return num_done_; }

  static constexpr std::chrono::minutes kGoodRun{10};

 private:
  int num_restarts_;
  int num_done_ = 0;
};

// Runs the command until it ends with status 0, its restarts are used up, or this process is told to end:
// SIGTERM becomes SIGUSR1 the first time, which mpirun hands on to the ranks, and SIGTERM from the second on;
// SIGINT likewise, unless a terminal sends it, which sends it to the command too. Where this process is
// killed, the command gets SIGTERM. Descendants that outlive the command on this machine are killed.
// Returns the last exit status, of a command that signal n ended 128 + n. kNotFound: there is no such
// command. To be called once, from the main thread, where no other children are awaited.
Result<int> supervise(const std::vector<std::string>& words, int num_restarts);

}  // namespace fathom
