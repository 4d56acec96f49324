// A fixed team of threads that runs one region at a time: every thread calls the same function with its
// own index and works on its own static share. Results never depend on the team's size as long as each
// output element is computed by one thread in a fixed order.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace fathom {

struct IndexRange {
  int64_t begin = 0;
  int64_t end = 0;  // exclusive
  int64_t size() const { return end - begin; }
};

// Share number index of num_shares of [0, total), cut at multiples of step; shares differ by at most one
// step.
IndexRange static_share(int64_t total, int64_t step, int index, int num_shares);

class ThreadTeam {
 public:
  // num_threads >= 1 counts the caller of run(), which works as thread 0. Throws std::system_error where the
  // system refuses a thread; none is left running then.
  explicit ThreadTeam(int num_threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls region(thread_index) once on every thread and returns when all are done. Regions do not nest;
  // one thread at a time may call run().
  void run(const std::function<void(int)>& region);

  // Inside a region: waits until every thread of the team has come here.
  void barrier();

 private:
  void worker_loop(int index);
  void stop();

  std::vector<std::thread> workers_;
  const std::function<void(int)>* region_ = nullptr;
  std::atomic<uint32_t> generation_{0};
  std::atomic<int> running_{0};
  std::atomic<int> barrier_waiting_{0};
  std::atomic<uint32_t> barrier_generation_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace fathom
