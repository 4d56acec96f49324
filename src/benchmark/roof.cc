#include "benchmark/roof.h"

#include <algorithm>
#include <map>

#include "base/check.h"

namespace fathom {
namespace {

using Slot = std::optional<TierRates::Named> TierRates::*;
constexpr Slot kSlots[] = {&TierRates::int8, &TierRates::bfloat16, &TierRates::float32};

const kernels::ComputeProbe& probe_named(std::string_view name) {
  for (const kernels::ComputeProbe& probe : kernels::compute_probes()) {
    if (probe.name == name) return probe;
  }
  FATHOM_CHECK(false, "no probe {}", name);
}

}  // namespace

Moment measure_moment(CeilingMeter& meter, const MomentOptions& options) {
  Moment moment{.read_bytes_per_second = meter.read(options.read_seconds, options.pass_bytes).sustained,
                .rates = {}};
  // Several slots may name one probe.
  std::map<std::string_view, double> measured;
  for (const Slot slot : kSlots) {
    const std::optional<TierRates::Named>& wanted = options.probes.*slot;
    if (!wanted) continue;
    const auto [entry, is_new] = measured.try_emplace(wanted->probe_name);
    if (is_new) {
      entry->second = meter.compute(probe_named(wanted->probe_name), options.compute_seconds).best;
    }
    moment.rates.*slot = TierRates::Named{wanted->probe_name, entry->second};
  }
  return moment;
}

Moment better_of(const Moment& a, const Moment& b) {
  Moment better = a;
  better.read_bytes_per_second = std::max(a.read_bytes_per_second, b.read_bytes_per_second);
  for (const Slot slot : kSlots) {
    const std::optional<TierRates::Named>& other = b.rates.*slot;
    std::optional<TierRates::Named>& mine = better.rates.*slot;
    FATHOM_CHECK(mine.has_value() == other.has_value(), "different probes");
    if (mine && other->ops_per_second > mine->ops_per_second) mine = other;
  }
  return better;
}

TierRates needed_rates(const TierRates& rates, const OperationCounts& operations) {
  TierRates needed;
  if (operations.int8 + operations.int8_pair > 0) needed.int8 = rates.int8;
  if (operations.bfloat16 + operations.attention + operations.expansion > 0) needed.bfloat16 = rates.bfloat16;
  if (operations.float32 > 0) needed.float32 = rates.float32;
  return needed;
}

std::optional<Roof> roof_of(double bytes, const OperationCounts& operations, const Moment& moment) {
  const auto computing = operation_seconds(operations, moment.rates);
  if (!computing) return std::nullopt;
  const double reading = bytes / moment.read_bytes_per_second;
  if (reading > *computing) return Roof{.seconds = reading, .limit = RoofLimit::kBandwidth};
  return Roof{.seconds = *computing, .limit = RoofLimit::kOperations};
}

std::string_view roof_limit_name(RoofLimit limit) {
  return limit == RoofLimit::kBandwidth ? "bandwidth" : "operations";
}

}  // namespace fathom
