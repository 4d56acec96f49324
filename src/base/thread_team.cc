#include "base/thread_team.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/cpu_features.h"

namespace fathom {
namespace {

// Regions of one forward pass follow each other within microseconds. What happens between two steps, sampling
// and scheduling, takes some 100: a thread that slept meanwhile costs 5 to 50 to wake, one that did not would
// keep its CPU from the server's thread, which has tokens to send right then (first bytes of 32 streams on
// two cores 1.2 ms after their tokens at 200 microseconds, 0.6 at 30; 2026-12-01).
constexpr std::chrono::microseconds kSpin{30};

// With more threads than CPUs the one waited for may need this very CPU.
std::chrono::nanoseconds spin_time(int num_threads) {
  return num_threads > available_cpus() ? std::chrono::nanoseconds::zero() : kSpin;
}

}  // namespace

IndexRange static_share(int64_t total, int64_t step, int index, int num_shares) {
  const int64_t num_steps = (total + step - 1) / step;
  const auto cut = [&](int64_t share) { return std::min(total, num_steps * share / num_shares * step); };
  return {cut(index), cut(index + 1)};
}

ThreadTeam::ThreadTeam(int num_threads) : ThreadTeam(floating_placement(num_threads)) {}

ThreadTeam::ThreadTeam(Placement placement)
    : placement_(std::move(placement)), spin_(spin_time(placement_.num_threads())) {
  FATHOM_CHECK(size() >= 1, "num_threads {}", size());
  try {
    workers_.reserve(static_cast<size_t>(size()) - 1);
    for (int i = 1; i < size(); ++i) workers_.emplace_back([this, i] { worker_loop(i); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadTeam::~ThreadTeam() {
  stop();
  release_caller();
}

void ThreadTeam::stop() {
  region_ = {};
  started_.publish(started_.value() + 1);
  for (std::thread& worker : workers_) worker.join();
}

namespace {

// A region that throws would leave the others waiting for its thread: end with a message instead.
void call_region(const FunctionRef<void(int)>& region, int thread) noexcept { region(thread); }

}  // namespace

void ThreadTeam::run(FunctionRef<void(int)> region) {
  if (size() == 1) {
    call_region(region, 0);
    return;
  }
  if (placement_.pinned && pinned_caller_ != std::this_thread::get_id()) pin_caller();
  region_ = region;
  const uint32_t before = finished_.value();
  started_.publish(started_.value() + 1);
  call_region(region, 0);
  finished_.wait_while(before, spin_);
}

void ThreadTeam::worker_loop(int index) {
  const int cpu = placement_.threads[static_cast<size_t>(index)].cpu;
  if (placement_.pinned) static_cast<void>(pin_this_thread({&cpu, 1}));
  for (uint32_t seen = 0;; ++seen) {
    started_.wait_while(seen, spin_);
    if (!region_) return;
    call_region(region_, index);
    // Each worker's writes reach the caller through the count and then the gate. The count is back at zero
    // before the gate opens, and so before anyone can start the next region.
    if (num_finished_.fetch_add(1, std::memory_order_acq_rel) + 1 < size() - 1) continue;
    num_finished_.store(0, std::memory_order_relaxed);
    finished_.publish(seen + 1);
  }
}

void ThreadTeam::share_out(int64_t count, FunctionRef<void(int, int64_t)> work) {
  std::atomic<int64_t> next{0};
  run([&](int thread) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) work(thread, i);
  });
}

void ThreadTeam::barrier() {
  if (size() == 1) return;
  // Cannot change before this thread has arrived, too.
  const uint32_t passed = barrier_.value();
  if (num_arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < size()) {
    barrier_.wait_while(passed, spin_);
    return;
  }
  num_arrived_.store(0, std::memory_order_relaxed);
  barrier_.publish(passed + 1);
}

void ThreadTeam::pin_caller() {
  pinned_caller_ = std::this_thread::get_id();
  const Result<std::vector<int>> affinity = affinity_of_this_thread();
  // Without a mask to go back to the caller floats.
  caller_affinity_ = affinity.ok() ? *affinity : std::vector<int>();
  if (affinity.ok()) static_cast<void>(pin_this_thread({&placement_.threads[0].cpu, 1}));
}

void ThreadTeam::release_caller() {
  if (pinned_caller_ != std::this_thread::get_id()) return;
  pinned_caller_ = {};
  if (!caller_affinity_.empty()) static_cast<void>(pin_this_thread(caller_affinity_));
}

}  // namespace fathom
