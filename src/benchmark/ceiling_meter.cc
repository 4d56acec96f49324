#include "benchmark/ceiling_meter.h"

#include <algorithm>
#include <iterator>
#include <system_error>

#include "base/clock.h"
#include "base/cpu_features.h"
#include "base/memory_info.h"

namespace fathom {
namespace {

// Which of these is fastest depends on the processor.
constexpr ReadWay kReadWays[] = {{1, false}, {2, false}, {4, false}, {1, true}, {2, true}};
constexpr int kMinPasses = 3;
constexpr int kMaxPasses = 1000;
// Of a compute pass. Shorter than the time slice that a busy system gives a thread, so that some passes run
// undisturbed; long against the threads' start within microseconds of each other.
constexpr double kPassSeconds = 2e-3;
constexpr uint64_t kCacheMultiple = 8;
constexpr uint64_t kMinReadBytes = uint64_t{256} << 20;
// A share is cut into up to four streams of whole steps.
constexpr uint64_t kShareStep = 4 * kernels::kReadStepBytes;

Rate rate_of(std::vector<double> passes) {
  std::sort(passes.begin(), passes.end());
  return {.best = passes.back(),
          .median = passes[passes.size() / 2],
          .worst = passes.front(),
          .num_passes = static_cast<int>(passes.size())};
}

}  // namespace

uint64_t choose_read_bytes(uint64_t cache_bytes, uint64_t max_bytes) {
  const uint64_t wanted =
      std::clamp(kCacheMultiple * cache_bytes, std::min(kMinReadBytes, max_bytes), max_bytes);
  const auto available = read_memory_info().available();
  return available ? std::min(wanted, *available / 8) : wanted;
}

Result<std::unique_ptr<CeilingMeter>> CeilingMeter::create(int num_threads, uint64_t read_bytes) {
  std::unique_ptr<CeilingMeter> meter;
  try {
    meter.reset(new CeilingMeter(num_threads, kernels::widest_read_probe(detect_cpu_features())));
  } catch (const std::system_error& error) {
    return resource_exhausted("--threads: cannot start {} threads: {}", num_threads, error.what());
  }
  const auto num_shares = static_cast<uint64_t>(num_threads);
  meter->share_bytes_ = std::max(read_bytes / num_shares / kShareStep, uint64_t{1}) * kShareStep;
  meter->shares_.resize(num_shares);
  for (ReadBuffer& share : meter->shares_) {
    FATHOM_ASSIGN_OR_RETURN(share, ReadBuffer::reserve(meter->share_bytes_));
  }
  meter->team_.time([&](int thread) { meter->shares_[static_cast<size_t>(thread)].touch(); });
  meter->team_.leave();
  return meter;
}

CeilingMeter::Read CeilingMeter::read(double seconds, uint64_t pass_bytes) {
  Read read;
  std::vector<double> passes[std::size(kReadWays)], all;
  const double end = monotonic_seconds() + seconds;
  const uint64_t piece_steps = std::max(pass_bytes / shares_.size() / kShareStep, uint64_t{1});
  const uint64_t piece_bytes = std::min(piece_steps * kShareStep, share_bytes_);
  uint64_t begin = 0;
  for (int round = 0; round < kMinPasses || (monotonic_seconds() < end && round < kMaxPasses); ++round) {
    for (size_t i = 0; i < std::size(kReadWays); ++i) {
      const double taken = team_.time([&](int thread) {
        read_probe_.run({.data = shares_[static_cast<size_t>(thread)].data() + begin,
                         .bytes = static_cast<int64_t>(piece_bytes),
                         .num_streams = kReadWays[i].num_streams,
                         .fetches_ahead = kReadWays[i].fetches_ahead});
      });
      passes[i].push_back(static_cast<double>(piece_bytes * shares_.size()) / taken);
      all.push_back(passes[i].back());
      begin += piece_bytes;
      if (begin + piece_bytes > share_bytes_) begin = 0;
    }
  }
  team_.leave();
  for (size_t i = 0; i < std::size(kReadWays); ++i) {
    const double median = rate_of(std::move(passes[i])).median;
    if (median <= read.sustained) continue;
    read.sustained = median;
    read.way = kReadWays[i];
  }
  read.rate = rate_of(std::move(all));
  return read;
}

Rate CeilingMeter::compute(const kernels::ComputeProbe& probe, double seconds) {
  int64_t iterations = 1000;
  const auto one_pass = [&] { return team_.time([&](int) { probe.run(iterations); }); };
  // Doubles until a pass is long enough even when nothing disturbs it; this also brings the CPU to its
  // working clock.
  const double wanted = std::min(kPassSeconds, seconds / kMinPasses);
  const double end = monotonic_seconds() + seconds;
  const double settled = end - seconds / 2;
  while (std::min(one_pass(), one_pass()) < wanted && monotonic_seconds() < settled) iterations *= 2;
  const double operations = probe.run(1) * static_cast<double>(iterations) * num_threads();
  std::vector<double> passes;
  while (passes.size() < kMinPasses || (monotonic_seconds() < end && passes.size() < kMaxPasses)) {
    passes.push_back(operations / one_pass());
  }
  team_.leave();
  return rate_of(std::move(passes));
}

}  // namespace fathom
