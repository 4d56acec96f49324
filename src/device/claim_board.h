// Work that the threads of a node claim piece by piece, large pieces first: cores of a shared machine are not
// equally fast from one moment to the next, and a phase ends when its last thread does. Who computes an
// output never changes its bits, so neither does this.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/thread_team.h"

namespace fathom {

class ClaimBoard {
 public:
  explicit ClaimBoard(int num_nodes) : num_nodes_(num_nodes) {}

  // Makes num_phases lines of work unclaimed. No thread may be claiming.
  void reset(int64_t num_phases) {
    if (num_phases > capacity_) {
      lines_ = std::make_unique<Line[]>(static_cast<size_t>(num_phases * num_nodes_));
      capacity_ = num_phases;
    }
    for (int64_t i = 0; i < num_phases * num_nodes_; ++i) lines_[static_cast<size_t>(i)].next.store(0);
  }

  // The next piece of [0, total) of one phase's line on a node, claimed by one of num_threads threads: half
  // of an equal share of what is left, at least min_units and in multiples of step; empty when all is
  // claimed.
  IndexRange claim(int64_t phase, int node, int64_t total, int64_t min_units, int64_t step, int num_threads) {
    std::atomic<int64_t>& next = lines_[static_cast<size_t>(phase * num_nodes_ + node)].next;
    int64_t begin = next.load(std::memory_order_relaxed);
    int64_t end = begin;
    do {
      if (begin >= total) return {total, total};
      const int64_t wanted = std::max({int64_t{1}, min_units, (total - begin) / (2 * num_threads)});
      end = std::min(total, begin + (wanted + step - 1) / step * step);
    } while (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed));
    return {begin, end};
  }

 private:
  struct alignas(128) Line {
    std::atomic<int64_t> next{0};
  };
  int num_nodes_;
  int64_t capacity_ = 0;  // phases
  std::unique_ptr<Line[]> lines_;
};

}  // namespace fathom
