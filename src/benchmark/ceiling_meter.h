// Measures how fast memory can be read and how fast instructions multiply, on one team of threads with one
// buffer that stay as long as the meter: so that a measurement can be repeated beside whatever it is to be
// compared with. Judges nothing.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "benchmark/read_buffer.h"
#include "benchmark/timed_team.h"
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

// How a thread reads memory (kernels::ReadParams).
struct ReadWay {
  int num_streams = 1;
  bool fetches_ahead = false;
};

// Thread rule: one thread measures, which has its own affinity back after each measurement. Made before an
// engine is loaded (see TimedTeam).
class CeilingMeter {
 public:
  // read_bytes are rounded down to whole steps of each thread's share, at least one, and held until the end.
  // Failure: no memory, or the system refuses the threads (the message names --threads).
  static Result<std::unique_ptr<CeilingMeter>> create(int num_threads, uint64_t read_bytes);

  int num_threads() const { return team_.size(); }
  uint64_t read_bytes() const { return share_bytes_ * shares_.size(); }  // of a pass, and of memory held
  const kernels::ReadProbe& read_probe() const { return read_probe_; }

  // Bytes a second. Takes about `seconds`, three rounds at the least, of as many passes as there are ways. A
  // pass reads the whole memory, or where pass_bytes are less, so many from where the last one ended: they
  // have left the caches all the same, and the rounds take less time.
  struct Read {
    Rate rate;  // over all passes
    // The median of the passes that read in the way that serves best: what a run of many passes can expect,
    // where rate.best is one moment in which no neighbour of a shared machine wanted memory.
    double sustained = 0;
    ReadWay way;  // of those passes
  };
  Read read(double seconds, uint64_t pass_bytes = std::numeric_limits<uint64_t>::max());

  // Operations a second. Takes about `seconds`. Precondition: this CPU has the probe.
  Rate compute(const kernels::ComputeProbe& probe, double seconds);

  // For timing other work on the same threads.
  TimedTeam& team() { return team_; }

 private:
  CeilingMeter(int num_threads, const kernels::ReadProbe& read_probe)
      : team_(num_threads), read_probe_(read_probe) {}

  TimedTeam team_;
  const kernels::ReadProbe& read_probe_;
  uint64_t share_bytes_ = 0;
  std::vector<ReadBuffer> shares_;  // by thread
};

}  // namespace fathom
