#include "benchmark/comm_bench.h"

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "base/function_ref.h"

namespace fathom {
namespace {

constexpr int kWarmUpCalls = 10;
constexpr int kMostCalls = 20'000;
constexpr int kFewestCalls = 5;
constexpr size_t kCopyBytes = size_t{64} << 20;

CallTimes summarise(std::vector<double>& seconds) {
  std::sort(seconds.begin(), seconds.end());
  const size_t count = seconds.size();
  return {.median = seconds[count / 2],
          .best = seconds.front(),
          .slow = seconds[count * 9 / 10],
          .num_calls = static_cast<int>(count)};
}

// Rank 0 finds how many calls fit the time.
Result<int> agree_on_calls(Communicator& communicator, double seconds_a_call, double seconds) {
  int calls =
      std::clamp(static_cast<int>(seconds / std::max(seconds_a_call, 1e-7)), kFewestCalls, kMostCalls);
  FATHOM_RETURN_IF_ERROR(communicator.broadcast(std::as_writable_bytes(std::span(&calls, 1)), 0));
  return calls;
}

Result<CallTimes> time_calls(Communicator& communicator, double seconds, FunctionRef<Status()> call) {
  double begin = monotonic_seconds();
  for (int i = 0; i < kWarmUpCalls; ++i) FATHOM_RETURN_IF_ERROR(call());
  FATHOM_ASSIGN_OR_RETURN(
      const int calls, agree_on_calls(communicator, (monotonic_seconds() - begin) / kWarmUpCalls, seconds));
  std::vector<double> times(static_cast<size_t>(calls));
  FATHOM_RETURN_IF_ERROR(communicator.barrier());
  begin = monotonic_seconds();
  for (double& time : times) {
    FATHOM_RETURN_IF_ERROR(call());
    const double end = monotonic_seconds();
    time = end - begin;
    begin = end;
  }
  return summarise(times);
}

Result<double> measure_copies(Communicator& communicator, double seconds) {
  std::vector<std::byte> from(kCopyBytes, std::byte{1}), to(kCopyBytes);
  FATHOM_ASSIGN_OR_RETURN(const CallTimes times, time_calls(communicator, seconds, [&] {
                            std::memcpy(to.data(), from.data(), kCopyBytes);
                            return ok_status();
                          }));
  return static_cast<double>(kCopyBytes) / times.median;
}

}  // namespace

Result<CommReport> measure_communication(Communicator& communicator, Transport& transport,
                                         const CommOptions& options) {
  CommReport report;
  FATHOM_ASSIGN_OR_RETURN(report.copy_bytes_per_second, measure_copies(communicator, options.seconds));
  const auto measure = [&](FunctionRef<Status()> call) {
    return time_calls(communicator, options.seconds, call);
  };
  FATHOM_ASSIGN_OR_RETURN(const CallTimes barrier, measure([&] { return communicator.barrier(); }));
  report.figures.push_back({.operation = "barrier", .times = barrier});
  for (int64_t bytes : options.sizes) {
    // Zeros: sums stay finite however many there are.
    std::vector<float> values(static_cast<size_t>(bytes) / sizeof(float));
    const std::span<std::byte> raw = std::as_writable_bytes(std::span(values));
    FATHOM_ASSIGN_OR_RETURN(const CallTimes broadcast,
                            measure([&] { return communicator.broadcast(raw, 0); }));
    report.figures.push_back({.operation = "broadcast", .bytes = bytes, .times = broadcast});
    FATHOM_ASSIGN_OR_RETURN(const CallTimes sum,
                            measure([&] { return communicator.all_reduce_sum(values); }));
    FATHOM_ASSIGN_OR_RETURN(const CallTimes library, measure([&] { return transport.library_sum(values); }));
    report.figures.push_back({.operation = "all-reduce", .bytes = bytes, .times = sum, .library = library});
  }
  return report;
}

}  // namespace fathom
