#include "benchmark/kernel_section.h"

#include <algorithm>

#include "base/clock.h"

namespace fathom {
namespace {

// Long against the start of threads, short against the time slices of a busy system.
constexpr double kKernelPassSeconds = 2e-3;
constexpr int kMinKernelPasses = 3;
constexpr double kMaxCalls = 1 << 16;  // of a pass
// A first call that takes so many times the wanted time is the only one.
constexpr double kSlow = 20;

}  // namespace

CallTime call_time(std::vector<double> seconds_per_call, int64_t num_calls) {
  std::sort(seconds_per_call.begin(), seconds_per_call.end());
  return {.best = seconds_per_call.front(),
          .median = seconds_per_call[seconds_per_call.size() / 2],
          .num_calls = num_calls};
}

CallTime time_calls(TimedTeam& team, double seconds, FunctionRef<void(int, int64_t)> work) {
  int64_t next = 0;
  const auto pass = [&](int64_t num_calls) {
    const int64_t first = next;
    next += num_calls;
    const double taken = team.time([&](int thread) {
      for (int64_t call = first; call < first + num_calls; ++call) work(thread, call);
    });
    return taken / static_cast<double>(num_calls);
  };
  std::vector<double> passes = {pass(1)};  // also warms up
  if (passes.front() < kSlow * seconds) {
    const double wanted = std::min(kKernelPassSeconds, seconds / kMinKernelPasses);
    const auto num_calls = static_cast<int64_t>(std::clamp(wanted / pass(1), 1.0, kMaxCalls));
    passes.clear();
    const double end = monotonic_seconds() + seconds;
    while (passes.size() < kMinKernelPasses || monotonic_seconds() < end) passes.push_back(pass(num_calls));
  }
  return call_time(std::move(passes), next);
}

SectionMeter::SectionMeter(const KernelBench& bench, SectionPlan plan)
    : bench_(bench),
      plan_(std::move(plan)),
      moment_options_{
          .probes = needed_rates(bench.rates, plan_.kinds),
          .read_seconds = std::min(MomentOptions().read_seconds, 4 * bench.options.seconds),
          .compute_seconds = std::min(MomentOptions().compute_seconds, 2 * bench.options.seconds)} {
  section_.group = plan_.group;
  section_.name = plan_.name;
  section_.moment = measure_moment(bench.meter, moment_options_);
}

void SectionMeter::add(KernelRow row, FunctionRef<void(int, int64_t)> work) {
  row.time = time_calls(bench_.team(), bench_.options.seconds, work);
  section_.rows.push_back(std::move(row));
  if (bench_.progress == nullptr) return;
  bench_.progress->report(fmt::format("{} {}", kernel_group_name(plan_.group), plan_.name),
                          section_.rows.size(), plan_.num_rows);
}

KernelSection SectionMeter::finish() {
  bench_.team().leave();
  section_.moment = better_of(section_.moment, measure_moment(bench_.meter, moment_options_));
  for (KernelRow& row : section_.rows) row.roof = roof_of(row.bytes, row.operations, section_.moment);
  return std::move(section_);
}

}  // namespace fathom
