// Ctrl-C as something a command asks about instead of the end of the process.
#pragma once

namespace fathom {

// While one lives, SIGINT ends nothing and no waiting call is restarted after it. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

// Whether SIGINT came since clear_interrupt(). Always false without a guard.
bool interrupted();
void clear_interrupt();

}  // namespace fathom
