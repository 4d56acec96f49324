// What the groups of kernels share: the team, the table, the timing of calls, the ceilings beside a section.
#pragma once

#include <string>
#include <vector>

#include "base/function_ref.h"
#include "benchmark/kernel_bench.h"
#include "device/work_share.h"
#include "kernels/kernel_table.h"

namespace fathom {

// Borrowed by all groups.
struct KernelBench {
  const KernelBenchOptions& options;
  kernels::KernelTable table;
  CeilingMeter& meter;
  std::vector<NodeSeat> seats;  // by thread
  TierRates rates;              // whose probes the CPU has
  uint64_t pool_bytes = 0;
  ProgressSink* progress = nullptr;

  TimedTeam& team() const { return meter.team(); }
};

// work(thread, call) is one thread's share of one call; calls are numbered from 0. Takes about `seconds` and
// at least five calls, of which three count; one call where it takes twenty times as long.
CallTime time_calls(TimedTeam& team, double seconds, FunctionRef<void(int, int64_t)> work);

// Of passes of calls; precondition: not empty.
CallTime call_time(std::vector<double> seconds_per_call, int64_t num_calls);

struct SectionPlan {
  KernelGroup group = KernelGroup::kLinear;
  std::string name = {};
  OperationCounts kinds = {};  // not 0 where rows will have such operations
  size_t num_rows = 0;         // for progress
};

// A section under way. The machine is measured when it begins and when it is finished.
class SectionMeter {
 public:
  SectionMeter(const KernelBench& bench, SectionPlan plan);

  // Times work and adds the row, of which everything but time and roof is set.
  void add(KernelRow row, FunctionRef<void(int, int64_t)> work);
  // Holds the rows against the better of both measurements.
  KernelSection finish();

 private:
  const KernelBench& bench_;
  SectionPlan plan_;
  MomentOptions moment_options_;
  KernelSection section_;
};

}  // namespace fathom
