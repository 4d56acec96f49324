#include "benchmark/kernel_bench.h"

#include <algorithm>

#include "base/memory_info.h"
#include "base/topology.h"
#include "benchmark/kernel_groups.h"

namespace fathom {
namespace {

constexpr KernelGroup kGroups[] = {KernelGroup::kLinear, KernelGroup::kExperts, KernelGroup::kAttention,
                                   KernelGroup::kSmall};

Status append(Result<std::vector<KernelSection>> sections, KernelBenchReport& report) {
  FATHOM_RETURN_IF_ERROR(sections.status());
  std::move(sections->begin(), sections->end(), std::back_inserter(report.sections));
  return ok_status();
}

Status run_group(const KernelBench& bench, KernelGroup group, KernelBenchReport& report) {
  switch (group) {
    case KernelGroup::kLinear:
    case KernelGroup::kExperts:
      return append(bench_linears(bench, group), report);
    case KernelGroup::kSmall:
      return append(bench_small(bench), report);
    case KernelGroup::kAttention:
      break;
  }
  FATHOM_RETURN_IF_ERROR(append(bench_attention(bench), report));
  FATHOM_ASSIGN_OR_RETURN(report.forms, bench_attention_forms(bench));
  return ok_status();
}

}  // namespace

Status check_kernel_options(const KernelBenchOptions& options) {
  constexpr int64_t kMaxTokens = 4096;
  constexpr int64_t kMaxContext = 1 << 20;
  constexpr int kMaxThreads = 1024;
  constexpr double kMaxSeconds = 60;
  for (int64_t tokens : options.tokens) {
    if (tokens < 1 || tokens > kMaxTokens)
      return invalid_argument("--tokens: {} is outside [1, {}]", tokens, kMaxTokens);
  }
  for (int64_t context : options.contexts) {
    if (context < 1 || context > kMaxContext)
      return invalid_argument("--contexts: {} is outside [1, {}]", context, kMaxContext);
  }
  if (options.tokens.empty()) return invalid_argument("--tokens: no number given");
  if (options.contexts.empty()) return invalid_argument("--contexts: no number given");
  if (options.num_threads < 0 || options.num_threads > kMaxThreads)
    return invalid_argument("--threads: {} is outside [0, {}]", options.num_threads, kMaxThreads);
  if (!(options.seconds > 0 && options.seconds <= kMaxSeconds))
    return invalid_argument("--seconds: {} is outside (0, {}]", options.seconds, kMaxSeconds);
  return ok_status();
}

std::string_view kernel_group_name(KernelGroup group) {
  switch (group) {
    case KernelGroup::kLinear:
      return "linear";
    case KernelGroup::kExperts:
      return "experts";
    case KernelGroup::kAttention:
      return "attention";
    case KernelGroup::kSmall:
      break;
  }
  return "small";
}

std::optional<KernelGroup> kernel_group_from_name(std::string_view name) {
  for (KernelGroup group : kGroups) {
    if (kernel_group_name(group) == name) return group;
  }
  return std::nullopt;
}

kernels::ActivationRounding activation_rounding(const ModelConfig& config) {
  if (config.torch_dtype == DType::kBFloat16) return kernels::ActivationRounding::kBFloat16;
  return config.torch_dtype == DType::kFloat16 ? kernels::ActivationRounding::kFloat16
                                               : kernels::ActivationRounding::kNone;
}

Result<KernelBenchReport> bench_kernels(const KernelBenchOptions& options, ProgressSink* progress) {
  FATHOM_RETURN_IF_ERROR(check_kernel_options(options));
  const Result<Topology> topology = read_topology();
  KernelBenchReport report{
      .model = options.model,
      .cpu = detect_cpu_features().model_name,
      .isa = options.isa,
      .num_threads = options.num_threads > 0 ? options.num_threads : available_cpus(),
      .last_level_cache_bytes = topology.ok() ? topology->last_level_cache_bytes : 0,
  };
  const uint64_t read_bytes = choose_read_bytes(report.last_level_cache_bytes, options.pool_bytes);
  FATHOM_ASSIGN_OR_RETURN(const auto meter, CeilingMeter::create(report.num_threads, read_bytes));
  uint64_t done = 0;
  report.machine = measure_threads(*meter, std::min(0.1, 2 * options.seconds), [&] {
    if (progress != nullptr) progress->report("measuring the machine", ++done, num_measurements());
  });
  const auto available = read_memory_info().available();
  const KernelBench bench{.options = options,
                          .table = kernels::select_kernels(options.isa),
                          .meter = *meter,
                          .seats = node_seats(meter->team().team()),
                          .rates = tier_rates(report.machine, options.isa),
                          .pool_bytes = std::min(options.pool_bytes, available.value_or(UINT64_MAX) / 8),
                          .progress = progress};
  for (KernelGroup group : kGroups) {
    if (options.only && options.only != group) continue;
    FATHOM_RETURN_IF_ERROR(run_group(bench, group, report));
  }
  return report;
}

}  // namespace fathom
