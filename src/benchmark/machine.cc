#include "benchmark/machine.h"

#include <algorithm>
#include <iterator>
#include <system_error>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "base/memory_info.h"
#include "base/thread_team.h"
#include "base/topology.h"
#include "benchmark/read_buffer.h"

namespace fathom {
namespace {

constexpr int kStreamCounts[] = {1, 2, 4};
constexpr int kMinPasses = 3;
constexpr int kMaxPasses = 1000;
// Of a compute pass. Shorter than the time slice that a busy system gives a thread, so that some passes run
// undisturbed; long against the threads' start within microseconds of each other.
constexpr double kPassSeconds = 2e-3;

constexpr uint64_t kCacheMultiple = 8;
constexpr uint64_t kMinReadBytes = uint64_t{256} << 20;
constexpr uint64_t kMaxReadBytes = uint64_t{8} << 30;
// A share is cut into up to four streams of whole steps.
constexpr uint64_t kShareStep = 4 * kernels::kReadStepBytes;

Rate rate_of(std::vector<double> passes) {
  std::sort(passes.begin(), passes.end());
  return {.best = passes.back(),
          .median = passes[passes.size() / 2],
          .worst = passes.front(),
          .num_passes = static_cast<int>(passes.size())};
}

// Runs work(thread) on every thread at once; seconds from the first start to the last end.
class Stopwatch {
 public:
  explicit Stopwatch(ThreadTeam& team) : team_(team), times_(static_cast<size_t>(team.size())) {}

  double time(FunctionRef<void(int)> work) {
    team_.run([&](int thread) {
      Times& times = times_[static_cast<size_t>(thread)];
      team_.barrier();
      times.begin = monotonic_seconds();
      work(thread);
      times.end = monotonic_seconds();
    });
    double begin = times_[0].begin, end = times_[0].end;
    for (const Times& times : times_) {
      begin = std::min(begin, times.begin);
      end = std::max(end, times.end);
    }
    return std::max(end - begin, 1e-9);
  }

 private:
  struct alignas(64) Times {  // a cache line each
    double begin = 0;
    double end = 0;
  };
  ThreadTeam& team_;
  std::vector<Times> times_;
};

Rate measure_compute(const kernels::ComputeProbe& probe, ThreadTeam& team, double seconds) {
  Stopwatch stopwatch(team);
  int64_t iterations = 1000;
  const auto one_pass = [&] { return stopwatch.time([&](int) { probe.run(iterations); }); };
  // Doubles until a pass is long enough even when nothing disturbs it; this also brings the CPU to its
  // working clock.
  const double wanted = std::min(kPassSeconds, seconds / kMinPasses);
  const double deadline = monotonic_seconds() + seconds;
  while (std::min(one_pass(), one_pass()) < wanted && monotonic_seconds() < deadline) iterations *= 2;
  const double operations = probe.run(1) * static_cast<double>(iterations) * team.size();
  std::vector<double> passes;
  const double end = monotonic_seconds() + seconds;
  while (passes.size() < kMinPasses || (monotonic_seconds() < end && passes.size() < kMaxPasses)) {
    passes.push_back(operations / one_pass());
  }
  return rate_of(std::move(passes));
}

uint64_t choose_read_bytes(const MachineOptions& options, uint64_t cache_bytes) {
  if (options.read_bytes != 0) return options.read_bytes;
  const uint64_t wanted =
      std::clamp(kCacheMultiple * cache_bytes, kMinReadBytes, kMaxReadBytes);
  const auto available = read_memory_info().available();
  return available ? std::min(wanted, *available / 8) : wanted;
}

Status measure_read(const kernels::ReadProbe& probe, ThreadTeam& team, uint64_t bytes, double seconds,
                    ThreadCeilings& ceilings) {
  const auto num_threads = static_cast<uint64_t>(team.size());
  const uint64_t share = std::max(bytes / num_threads / kShareStep, uint64_t{1}) * kShareStep;
  std::vector<ReadBuffer> shares(num_threads);
  for (ReadBuffer& buffer : shares) {
    FATHOM_ASSIGN_OR_RETURN(buffer, ReadBuffer::reserve(share));
  }
  team.run([&](int thread) { shares[static_cast<size_t>(thread)].touch(); });

  Stopwatch stopwatch(team);
  ceilings.read_bytes = share * num_threads;
  std::vector<double> passes;
  double best = 0;
  const double end = monotonic_seconds() + seconds;
  for (int round = 0; round < kMinPasses || (monotonic_seconds() < end && round < kMaxPasses); ++round) {
    for (int num_streams : kStreamCounts) {
      const double taken = stopwatch.time([&](int thread) {
        probe.run({.data = shares[static_cast<size_t>(thread)].data(),
                   .bytes = static_cast<int64_t>(share),
                   .num_streams = num_streams});
      });
      passes.push_back(static_cast<double>(ceilings.read_bytes) / taken);
      if (passes.back() <= best) continue;
      best = passes.back();
      ceilings.read_streams = num_streams;
    }
  }
  ceilings.read = rate_of(std::move(passes));
  return ok_status();
}

Status check_options(const MachineOptions& options) {
  constexpr int kMaxThreads = 4096;
  constexpr double kMaxSeconds = 600;
  for (int count : options.thread_counts) {
    if (count < 1 || count > kMaxThreads) {
      return invalid_argument("--threads: {} is outside [1, {}]", count, kMaxThreads);
    }
  }
  if (!(options.seconds > 0 && options.seconds <= kMaxSeconds)) {
    return invalid_argument("--seconds: {} is outside (0, {}]", options.seconds, kMaxSeconds);
  }
  return ok_status();
}

Rate better_rate(const Rate& a, const Rate& b) {
  const Rate& better = a.best >= b.best ? a : b;
  return {.best = better.best,
          .median = std::max(a.median, b.median),
          .worst = std::min(a.worst, b.worst),
          .num_passes = a.num_passes + b.num_passes};
}

}  // namespace

std::optional<double> ThreadCeilings::best_of(std::string_view probe_name) const {
  for (const ProbeRate& entry : probes) {
    if (entry.probe->name == probe_name && entry.rate) return entry.rate->best;
  }
  return std::nullopt;
}

std::vector<int> default_thread_counts(int num_cpus, int num_nodes) {
  constexpr int kBig = 8;
  std::vector<int> counts = {1, num_cpus};
  if (num_cpus >= kBig) {
    const int node = static_cast<int>(ceil_div(num_cpus, num_nodes));
    counts.insert(counts.end(), {(node + 1) / 2, node});
  }
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  return counts;
}

Result<MachineCeilings> measure_machine(const MachineOptions& options, ProgressSink* progress) {
  FATHOM_RETURN_IF_ERROR(check_options(options));
  const Result<Topology> topology = read_topology();
  MachineCeilings machine{.features = detect_cpu_features(),
                          .num_cpus = available_cpus(),
                          .num_nodes = topology.ok() ? topology->num_nodes() : 1,
                          .last_level_cache_bytes = topology.ok() ? topology->last_level_cache_bytes : 0};
  const kernels::ReadProbe& read_probe = kernels::widest_read_probe(machine.features);
  machine.read_probe = read_probe.name;
  const std::vector<int> counts = options.thread_counts.empty()
                                      ? default_thread_counts(machine.num_cpus, machine.num_nodes)
                                      : options.thread_counts;
  const uint64_t read_bytes = choose_read_bytes(options, machine.last_level_cache_bytes);
  const uint64_t total = counts.size() * (1 + kernels::compute_probes().size());
  uint64_t done = 0;
  const auto advance = [&] {
    if (progress != nullptr) progress->report("measuring the machine", ++done, total);
  };
  for (int count : counts) {
    ThreadCeilings ceilings{.num_threads = count};
    try {
      ThreadTeam team(choose_placement(count));
      FATHOM_RETURN_IF_ERROR(measure_read(read_probe, team, read_bytes, options.seconds, ceilings));
      advance();
      for (const kernels::ComputeProbe& probe : kernels::compute_probes()) {
        ProbeRate entry{.probe = &probe};
        if (probe.available(machine.features)) entry.rate = measure_compute(probe, team, options.seconds);
        ceilings.probes.push_back(entry);
        advance();
      }
    } catch (const std::system_error& error) {
      return resource_exhausted("--threads: cannot start {} threads: {}", count, error.what());
    }
    machine.threads.push_back(std::move(ceilings));
  }
  return machine;
}

MachineCeilings better_of(const MachineCeilings& a, const MachineCeilings& b) {
  FATHOM_CHECK(a.threads.size() == b.threads.size(), "{} and {}", a.threads.size(), b.threads.size());
  MachineCeilings better = a;
  for (size_t i = 0; i < better.threads.size(); ++i) {
    ThreadCeilings& mine = better.threads[i];
    const ThreadCeilings& other = b.threads[i];
    FATHOM_CHECK(mine.num_threads == other.num_threads, "{} and {}", mine.num_threads, other.num_threads);
    if (other.read.best > mine.read.best) mine.read_streams = other.read_streams;
    mine.read = better_rate(mine.read, other.read);
    for (size_t k = 0; k < mine.probes.size(); ++k) {
      if (mine.probes[k].rate && other.probes[k].rate)
        mine.probes[k].rate = better_rate(*mine.probes[k].rate, *other.probes[k].rate);
    }
  }
  return better;
}

TierRates tier_rates(const ThreadCeilings& ceilings, Isa isa) {
  struct Tier {
    Isa isa;
    const char* int8;
    const char* bfloat16;
    const char* float32;
  };
  constexpr Tier kTiers[] = {{Isa::kAmx, "amx_int8", "amx_bf16", "avx512_f32"},
                             {Isa::kAvx512, "avx512_vnni", "avx512_bf16", "avx512_f32"},
                             {Isa::kAvx2, "avx2_int8", "avx2_f32", "avx2_f32"}};
  const Isa highest = std::max(isa, Isa::kAvx2);
  TierRates rates;
  const auto take = [&](std::optional<TierRates::Named>& slot, std::string_view name) {
    const auto best = ceilings.best_of(name);
    if (!slot && best) slot = TierRates::Named{name, *best};
  };
  for (const Tier& tier : kTiers) {
    if (tier.isa > highest) continue;
    take(rates.int8, tier.int8);
    take(rates.bfloat16, tier.bfloat16);
    take(rates.float32, tier.float32);
  }
  // A CPU with AVX-512 but without an instruction for bfloat16 multiplies decoded floats, with the wide FMA.
  if (rates.bfloat16 && rates.float32 && rates.bfloat16->ops_per_second < rates.float32->ops_per_second)
    rates.bfloat16 = rates.float32;
  return rates;
}

}  // namespace fathom
