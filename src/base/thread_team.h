// A fixed team of threads that runs one region at a time: every thread calls the same function with its
// own index and works on its own static share. Results never depend on the team's size as long as each
// output element is computed by one thread in a fixed order. Where each thread runs: base/topology.h.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/function_ref.h"
#include "base/topology.h"
#include "base/wait_gate.h"

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
  // One thread per entry of placement.threads, at least one. The caller of run() works as thread 0, the
  // others are started here and pin themselves. Throws std::system_error where the system refuses a thread;
  // none is left running then. Where it refuses to pin one, that thread floats, which is slower and no error.
  explicit ThreadTeam(Placement placement);
  // num_threads >= 1 threads that float.
  explicit ThreadTeam(int num_threads);
  // Gives the calling thread its own affinity back, as release_caller() does.
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return placement_.num_threads(); }
  // Nodes that have threads of the team, and the node in [0, num_nodes()) of one thread. A team that floats
  // has one.
  int num_nodes() const { return placement_.num_nodes; }
  int node_of(int thread) const { return placement_.threads[static_cast<size_t>(thread)].node; }

  // Calls region(thread_index) once on every thread and returns when all are done. Regions do not nest and do
  // not throw; one thread at a time may call run(). The first call pins the calling thread to the CPU of
  // thread 0 if the team is pinned, and so does the first call from another thread.
  void run(FunctionRef<void(int)> region);

  // Calls work(thread_index, i) once for each i in [0, count) and returns when all are done. Which thread
  // takes which i varies; work does not throw.
  void share_out(int64_t count, FunctionRef<void(int, int64_t)> work);

  // Inside a region: waits until every thread of the team has come here.
  void barrier();

  // Gives the calling thread the affinity it had before run() pinned it; does nothing on any other thread.
  // The next run() pins again. Threads started by a pinned thread inherit its one CPU, and its affinity mask,
  // from which available_cpus() and choose_placement() count, has that CPU only: call this before either.
  void release_caller();

 private:
  void worker_loop(int index);
  void pin_caller();
  void stop();

  Placement placement_;
  std::chrono::nanoseconds spin_;
  std::vector<std::thread> workers_;
  std::thread::id pinned_caller_;  // of the thread that run() pinned
  std::vector<int> caller_affinity_;

  // Shared by all threads. Counts that every thread writes lie apart from what they wait for.
  alignas(kCacheLineSpacing) WaitGate started_;   // regions started
  FunctionRef<void(int)> region_;                 // set before started_ opens, to nothing where the team ends
  alignas(kCacheLineSpacing) WaitGate finished_;  // regions that all workers are done with
  alignas(kCacheLineSpacing) WaitGate barrier_;   // barriers passed
  alignas(kCacheLineSpacing) std::atomic<int> num_finished_{0};  // workers done with this region
  alignas(kCacheLineSpacing) std::atomic<int> num_arrived_{0};   // threads at this barrier
};

}  // namespace fathom
