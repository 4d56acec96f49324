// The machine's ceilings at one moment: measured in tenths of a second beside the run that is held against
// them, because the bandwidth of a shared machine changes from minute to minute.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "benchmark/ceiling_meter.h"
#include "benchmark/machine.h"
#include "benchmark/traffic.h"

namespace fathom {

struct Moment {
  double read_bytes_per_second = 0;
  TierRates rates;
};

struct MomentOptions {
  TierRates probes;  // whose rates to measure; absent ones stay absent
  double read_seconds = 0.2;
  double compute_seconds = 0.1;  // of each probe, of which there are at most three
  uint64_t pass_bytes = std::numeric_limits<uint64_t>::max();  // CeilingMeter::read()'s
};

Moment measure_moment(CeilingMeter& meter, const MomentOptions& options);

// Figure by figure, as disturbance only ever makes one worse. Both measured the same probes.
Moment better_of(const Moment& a, const Moment& b);

// Those of the rates that the operations are held against.
TierRates needed_rates(const TierRates& rates, const OperationCounts& operations);

// The least time that bytes and operations can take at a moment, and which of the two it is.
enum class RoofLimit { kBandwidth, kOperations };
struct Roof {
  double seconds = 0;
  RoofLimit limit = RoofLimit::kBandwidth;
};
// nullopt where a rate that is needed is unknown.
std::optional<Roof> roof_of(double bytes, const OperationCounts& operations, const Moment& moment);
std::string_view roof_limit_name(RoofLimit limit);  // "bandwidth", "operations"

}  // namespace fathom
