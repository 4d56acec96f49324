#include "benchmark/timed_team.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/clock.h"

namespace fathom {
namespace {

// A team's threads look out for the next region for 200 us before they sleep.
constexpr std::chrono::milliseconds kSettle{1};

}  // namespace

TimedTeam::TimedTeam(int num_threads)
    : team_(choose_placement(num_threads)), times_(static_cast<size_t>(num_threads)) {}

double TimedTeam::time(FunctionRef<void(int)> work) {
  team_.run([&](int thread) {
    Times& times = times_[static_cast<size_t>(thread)];
    team_.barrier();
    times.begin = monotonic_seconds();
    work(thread);
    times.end = monotonic_seconds();
  });
  double begin = times_[0].begin, end = times_[0].end;
  for (const Times& times : times_) {
    begin = std::min(begin, times.begin);
    end = std::max(end, times.end);
  }
  return std::max(end - begin, 1e-9);
}

void TimedTeam::leave() {
  team_.release_caller();
  std::this_thread::sleep_for(kSettle);
}

}  // namespace fathom
