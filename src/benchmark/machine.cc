#include "benchmark/machine.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/topology.h"

namespace fathom {
namespace {

constexpr uint64_t kMaxMachineReadBytes = uint64_t{8} << 30;

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
  machine.read_probe = kernels::widest_read_probe(machine.features).name;
  const std::vector<int> counts = options.thread_counts.empty()
                                      ? default_thread_counts(machine.num_cpus, machine.num_nodes)
                                      : options.thread_counts;
  const uint64_t read_bytes = options.read_bytes != 0
                                  ? options.read_bytes
                                  : choose_read_bytes(machine.last_level_cache_bytes, kMaxMachineReadBytes);
  const uint64_t total = counts.size() * num_measurements();
  uint64_t done = 0;
  const auto advance = [&] {
    if (progress != nullptr) progress->report("measuring the machine", ++done, total);
  };
  for (int count : counts) {
    FATHOM_ASSIGN_OR_RETURN(const auto meter, CeilingMeter::create(count, read_bytes));
    machine.threads.push_back(measure_threads(*meter, options.seconds, advance));
  }
  return machine;
}

ThreadCeilings measure_threads(CeilingMeter& meter, double seconds, FunctionRef<void()> advance) {
  const CpuFeatures features = detect_cpu_features();
  const CeilingMeter::Read read = meter.read(seconds);
  advance();
  ThreadCeilings ceilings{.num_threads = meter.num_threads(),
                          .read = read.rate,
                          .read_way = read.way,
                          .read_bytes = meter.read_bytes()};
  for (const kernels::ComputeProbe& probe : kernels::compute_probes()) {
    ProbeRate entry{.probe = &probe};
    if (probe.available(features)) entry.rate = meter.compute(probe, seconds);
    ceilings.probes.push_back(entry);
    advance();
  }
  return ceilings;
}

uint64_t num_measurements() { return 1 + kernels::compute_probes().size(); }

MachineCeilings better_of(const MachineCeilings& a, const MachineCeilings& b) {
  FATHOM_CHECK(a.threads.size() == b.threads.size(), "{} and {}", a.threads.size(), b.threads.size());
  MachineCeilings better = a;
  for (size_t i = 0; i < better.threads.size(); ++i) {
    ThreadCeilings& mine = better.threads[i];
    const ThreadCeilings& other = b.threads[i];
    FATHOM_CHECK(mine.num_threads == other.num_threads, "{} and {}", mine.num_threads, other.num_threads);
    if (other.read.best > mine.read.best) mine.read_way = other.read_way;
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

TierRates tier_probes(const CpuFeatures& features, Isa isa) {
  ThreadCeilings ranks;
  auto rank = static_cast<double>(kernels::compute_probes().size());  // the table begins with the fastest
  for (const kernels::ComputeProbe& probe : kernels::compute_probes()) {
    if (probe.available(features)) ranks.probes.push_back({.probe = &probe, .rate = Rate{.best = rank}});
    --rank;
  }
  return tier_rates(ranks, isa);
}

}  // namespace fathom
