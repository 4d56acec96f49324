#include "base/thread_team.h"

#include <algorithm>

#include "base/check.h"

namespace fathom {
namespace {

// Regions of one forward pass follow each other within microseconds: spin that long, then sleep, so that
// an idle engine uses no CPU and a busy machine is not starved.
constexpr int kSpins = 2000;

template <typename T>
void wait_while_equal(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    __builtin_ia32_pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

IndexRange static_share(int64_t total, int64_t step, int index, int num_shares) {
  const int64_t num_steps = (total + step - 1) / step;
  const auto cut = [&](int64_t share) { return std::min(total, num_steps * share / num_shares * step); };
  return {cut(index), cut(index + 1)};
}

ThreadTeam::ThreadTeam(int num_threads) {
  FATHOM_CHECK(num_threads >= 1, "num_threads {}", num_threads);
  try {
    for (int i = 1; i < num_threads; ++i) workers_.emplace_back([this, i] { worker_loop(i); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadTeam::~ThreadTeam() { stop(); }

void ThreadTeam::stop() {
  stopping_.store(true);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::run(const std::function<void(int)>& region) {
  region_ = &region;
  running_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  region(0);
  for (int left = running_.load(std::memory_order_acquire); left != 0;
       left = running_.load(std::memory_order_acquire)) {
    wait_while_equal(running_, left);
  }
  region_ = nullptr;
}

void ThreadTeam::worker_loop(int index) {
  uint32_t seen = 0;
  while (true) {
    wait_while_equal(generation_, seen);
    const uint32_t now = generation_.load(std::memory_order_acquire);
    if (now == seen) continue;  // woken for nothing
    seen = now;
    if (stopping_.load()) return;
    (*region_)(index);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
  }
}

void ThreadTeam::barrier() {
  const uint32_t generation = barrier_generation_.load(std::memory_order_acquire);
  if (barrier_waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == size()) {
    barrier_waiting_.store(0, std::memory_order_relaxed);
    barrier_generation_.fetch_add(1, std::memory_order_release);
    barrier_generation_.notify_all();
    return;
  }
  while (barrier_generation_.load(std::memory_order_acquire) == generation) {
    wait_while_equal(barrier_generation_, generation);
  }
}

}  // namespace fathom
