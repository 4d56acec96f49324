// Measures how fast memory can be read and how fast instructions multiply, on one team of threads with one
// buffer that stay as long as the meter: so that a measurement can be repeated beside whatever it is to be
// compared with. Judges nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/status.h"
#include "base/thread_team.h"
#include "benchmark/read_buffer.h"
#include "kernels/probes.h"

namespace fathom {

// Of the passes of one measurement, in units per second.
struct Rate {
  double best = 0;
  double median = 0;
  double worst = 0;
  int num_passes = 0;
};

// Bytes to read per pass: eight times the last-level caches, at least 256 MiB, at most max_bytes and an
// eighth of free memory. Where the caches are larger than an eighth of max_bytes, part of a pass is read from
// them.
uint64_t choose_read_bytes(uint64_t cache_bytes, uint64_t max_bytes);

// Thread rule: one thread measures. Threads are placed as those of an engine with as many
// (choose_placement()), the caller among them, and the caller has its own affinity back after each
// measurement; make the meter before an engine, whose team keeps its caller on one CPU.
class CeilingMeter {
 public:
  // read_bytes are rounded down to whole steps of each thread's share, at least one, and held until the end.
  // Failure: no memory, or the system refuses the threads (the message names --threads).
  static Result<std::unique_ptr<CeilingMeter>> create(int num_threads, uint64_t read_bytes);

  int num_threads() const { return team_.size(); }
  uint64_t read_bytes() const { return share_bytes_ * shares_.size(); }  // of a pass, and of memory held
  const kernels::ReadProbe& read_probe() const { return read_probe_; }

  // Bytes a second. Takes about `seconds`, three rounds at the least.
  struct Read {
    Rate rate;
    int num_streams = 1;  // per thread, of the best pass
  };
  Read read(double seconds);

  // Operations a second. Takes up to twice `seconds`. Precondition: this CPU has the probe.
  Rate compute(const kernels::ComputeProbe& probe, double seconds);

 private:
  struct alignas(64) Times {  // a cache line each
    double begin = 0;
    double end = 0;
  };

  CeilingMeter(int num_threads, const kernels::ReadProbe& read_probe);
  // Runs work(thread) on every thread at once; seconds from the first start to the last end.
  double time(FunctionRef<void(int)> work);
  void leave();

  ThreadTeam team_;
  std::vector<Times> times_;  // by thread
  const kernels::ReadProbe& read_probe_;
  uint64_t share_bytes_ = 0;
  std::vector<ReadBuffer> shares_;  // by thread
};

}  // namespace fathom
