// How a rank waits for another: it spins, then yields, then sleeps, so that a group that waits for a request
// uses next to no CPU and one with fewer CPUs than ranks gives them to whoever has work.
#pragma once

#include <chrono>

namespace fathom {

enum class Crowding { kCpuPerRank, kFewerCpus };

class Patience {
 public:
  explicit Patience(Crowding crowding) : crowding_(crowding) {}
  // Called between looks at what is waited for.
  void rest();

 private:
  using Clock = std::chrono::steady_clock;
  Crowding crowding_;
  int num_spins_ = 0;
  Clock::time_point begin_{};
};

}  // namespace fathom
