// Whether another process of this machine has ended: known at once, and not mistaken when its number is given
// to another process.
#pragma once

#include <sys/types.h>

namespace fathom {

class ProcessWatch {
 public:
  // pid as this process sees it. Where the system has no such watches, the process seems to live for ever.
  explicit ProcessWatch(pid_t pid);
  ~ProcessWatch();
  ProcessWatch(ProcessWatch&& other) noexcept;
  ProcessWatch& operator=(ProcessWatch&&) = delete;

  bool has_ended() const;

 private:
  int descriptor_;  // -1: none
  bool ended_;      // before it could be watched
};

}  // namespace fathom
