#include "base/wait_gate.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace fathom {
namespace {

using Clock = std::chrono::steady_clock;

// Looks at the value between two looks at the clock: 1 to 3 microseconds, as `pause` takes 40 (Zen) to 140
// (Intel since Skylake) cycles. Most waits end before the first look at the clock, which costs some 25 ns.
constexpr int kSpinsPerClockCheck = 64;

// The kernel compares and sleeps on the word of the atomic itself.
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t) &&
              std::atomic<uint32_t>::is_always_lock_free);

void futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  ::syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

}  // namespace

void WaitGate::wait_while(uint32_t old, std::chrono::nanoseconds spin) {
  Clock::time_point end{};
  while (true) {
    for (int i = 0; i < kSpinsPerClockCheck; ++i) {
      if (value_.load(std::memory_order_acquire) != old) return;
      __builtin_ia32_pause();
    }
    if (spin <= spin.zero()) break;
    const Clock::time_point now = Clock::now();
    if (end == Clock::time_point{}) end = now + spin;
    if (now >= end) break;
  }
  sleep_while(old);
}

void WaitGate::sleep_while(uint32_t old) {
  num_sleepers_.fetch_add(1, std::memory_order_seq_cst);
  // The kernel sleeps only if the word still is old. It may wake for nothing or on a signal, hence the loop.
  while (value_.load(std::memory_order_seq_cst) == old) futex(value_, FUTEX_WAIT_PRIVATE, old);
  num_sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void WaitGate::wake_all() { futex(value_, FUTEX_WAKE_PRIVATE, INT_MAX); }

}  // namespace fathom
