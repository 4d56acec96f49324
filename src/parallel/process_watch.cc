#include "parallel/process_watch.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace fathom {

ProcessWatch::ProcessWatch(pid_t pid)
    : descriptor_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))),
      ended_(descriptor_ < 0 && errno == ESRCH) {}

ProcessWatch::ProcessWatch(ProcessWatch&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), ended_(other.ended_) {}

ProcessWatch::~ProcessWatch() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool ProcessWatch::has_ended() const {
  if (descriptor_ < 0) return ended_;
  pollfd query{.fd = descriptor_, .events = POLLIN, .revents = 0};
  return ::poll(&query, 1, 0) == 1;
}

}  // namespace fathom
