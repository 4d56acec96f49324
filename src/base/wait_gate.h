// A number that some threads wait to see change and one thread changes: the rest that threads of a team take
// between and inside regions (base/thread_team.h). Waiting spins first, since the next change is mostly
// microseconds away, and then sleeps, so that an idle engine uses no CPU.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace fathom {

// What two threads write lies this many bytes apart. A cache line is 64; Intel's prefetcher moves them in
// pairs.
inline constexpr size_t kCacheLineSpacing = 128;

// Owners give it a cache line of its own (kCacheLineSpacing), shared at most with what its publisher writes
// for those who wait. The count of sleepers lies beside the value: it is written only by those who wait long.
class WaitGate {
 public:
  // What was written before the publish() of this value is visible to the reader.
  uint32_t value() const { return value_.load(std::memory_order_acquire); }

  // Sets a new value and wakes whoever sleeps; costs no system call where nobody does. One thread at a time.
  void publish(uint32_t value) {
    // The order against sleep_while() is what keeps a sleeper from being missed. A waiter counts itself and
    // then reads the value, here the value is written and then the count read, all sequentially consistent:
    // either the waiter sees the new value or it is seen here.
    value_.store(value, std::memory_order_seq_cst);
    if (num_sleepers_.load(std::memory_order_seq_cst) != 0) wake_all();
  }

  // Returns as soon as the value is another than old: spins for about the given time (never less than a
  // microsecond or so), then sleeps.
  void wait_while(uint32_t old, std::chrono::nanoseconds spin);

 private:
  void sleep_while(uint32_t old);
  void wake_all();

  std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> num_sleepers_{0};
};

}  // namespace fathom
