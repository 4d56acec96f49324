#include "parallel/patience.h"

#include <sched.h>

#include <thread>

namespace fathom {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Looks between two looks at the clock: 1 to 3 microseconds of `pause`. Where another rank waits for this
// CPU, a few looks are enough before it is given away.
constexpr int kSpins = 64;
constexpr int kFewerCpusSpins = 4;

constexpr auto kSpinTime = milliseconds(2);
constexpr auto kYieldTime = milliseconds(50);
constexpr auto kShortSleepTime = milliseconds(1000);
constexpr auto kShortSleep = microseconds(50);
constexpr auto kLongSleep = microseconds(500);

}  // namespace

void Patience::rest() {
  const bool crowded = crowding_ == Crowding::kFewerCpus;
  if (++num_spins_ < (crowded ? kFewerCpusSpins : kSpins)) {
    __builtin_ia32_pause();
    return;
  }
  num_spins_ = 0;
  const Clock::time_point now = Clock::now();
  if (begin_ == Clock::time_point{}) begin_ = now;
  const auto waited = now - begin_;
  if (waited < kSpinTime && !crowded) return;
  if (waited < kYieldTime) {
    ::sched_yield();
  } else {
    std::this_thread::sleep_for(waited < kShortSleepTime ? kShortSleep : kLongSleep);
  }
}

}  // namespace fathom
