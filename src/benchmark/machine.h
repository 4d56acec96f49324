// The machine's measured ceilings: how fast memory can be read and how many multiply-adds a second each
// instruction can do, per number of threads. Other reports state their figures as shares of these. They are
// measured, not looked up: on a shared machine the best pass counts and the spread says how far to trust it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_features.h"
#include "base/progress.h"
#include "base/status.h"
#include "benchmark/ceiling_meter.h"
#include "kernels/probes.h"

namespace fathom {

struct MachineOptions {
  std::vector<int> thread_counts = {};  // empty: default_thread_counts()
  double seconds = 0.4;                 // of each measurement: one probe at one thread count
  // Bytes to read per pass; 0: several times the last-level caches, at most an eighth of free memory.
  uint64_t read_bytes = 0;
};

struct ProbeRate {
  const kernels::ComputeProbe* probe = nullptr;  // of the static table
  std::optional<Rate> rate = {};                 // operations a second; absent: not in this CPU
};

struct ThreadCeilings {
  int num_threads = 1;
  Rate read = {};                      // bytes a second
  ReadWay read_way;                    // of the best passes
  uint64_t read_bytes = 0;             // of a pass
  std::vector<ProbeRate> probes = {};  // in the table's order

  // Operations a second, best pass; nullopt where the CPU or the table has no such probe.
  std::optional<double> best_of(std::string_view probe_name) const;
};

struct MachineCeilings {
  CpuFeatures features = {};
  int num_cpus = 1;                     // that this process may use
  int num_nodes = 1;                    // of memory
  uint64_t last_level_cache_bytes = 0;  // of all CPUs together; 0 where the system does not say
  std::string read_probe = {};
  std::vector<ThreadCeilings> threads = {};
};

// 1 and all CPUs; from eight CPUs on also half a node and a node.
std::vector<int> default_thread_counts(int num_cpus, int num_nodes);

// Failure: a thread count outside [1, 4096], seconds not in (0, 600], or no memory for the reading. Starts
// threads, so that on a machine with AMX it must not be the first to ask for the CPU's features in a process
// that already runs threads. Where there are several nodes, thread i runs on the i-th CPU counted node by
// node. progress may be null; it counts measurements.
Result<MachineCeilings> measure_machine(const MachineOptions& options, ProgressSink* progress);

// All that one team of threads can do: reading and every probe that the CPU has, each for `seconds`. advance
// is called after each of num_measurements().
ThreadCeilings measure_threads(CeilingMeter& meter, double seconds, FunctionRef<void()> advance);
uint64_t num_measurements();

// The better of two measurements of the same machine and thread counts, figure by figure: disturbance only
// ever makes a figure worse. Precondition: equal thread counts.
MachineCeilings better_of(const MachineCeilings& a, const MachineCeilings& b);

// The multiply-add rates that kernels of one tier may be held against, in operations a second; the probe's
// name says which instruction. Absent where the CPU has none.
struct TierRates {
  struct Named {
    std::string_view probe_name;
    double ops_per_second = 0;
  };
  std::optional<Named> int8;
  std::optional<Named> bfloat16;  // float32's where there is no instruction for bfloat16
  std::optional<Named> float32;
};

// The fastest instruction of the tier or below it that this CPU has. The scalar reference is held against
// AVX2.
TierRates tier_rates(const ThreadCeilings& ceilings, Isa isa);

// The probes that those are the rates of; here the rates mean nothing.
TierRates tier_probes(const CpuFeatures& features, Isa isa);

}  // namespace fathom
