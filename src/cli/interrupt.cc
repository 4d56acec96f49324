#include "cli/interrupt.h"

#include <csignal>

namespace fathom {
namespace {

volatile std::sig_atomic_t was_interrupted = 0;

void set_handler(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  ::sigaction(SIGINT, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  clear_interrupt();
  set_handler([](int) { was_interrupted = 1; });
}

InterruptGuard::~InterruptGuard() {
  set_handler(SIG_DFL);
  clear_interrupt();
}

bool interrupted() { return was_interrupted != 0; }
void clear_interrupt() { was_interrupted = 0; }

}  // namespace fathom
