#include "benchmark/step_roof.h"

#include <algorithm>

#include "base/clock.h"
#include "base/topology.h"
#include "benchmark/cuda_meter.h"
#include "benchmark/engine_traffic.h"

namespace fathom {
namespace {

constexpr uint64_t kMaxRoofReadBytes = uint64_t{512} << 20;
// Some milliseconds each, so that every way of reading gets its passes.
constexpr uint64_t kRoofPassBytes = uint64_t{32} << 20;

Result<Moment> measure_device(double seconds) {
  FATHOM_ASSIGN_OR_RETURN(const CudaDevice device, open_cuda_device(0));
  FATHOM_ASSIGN_OR_RETURN(const auto meter, CudaMeter::create(device));
  return meter->measure(
      {.probes = cuda_probes(), .read_seconds = seconds / 2, .compute_seconds = seconds / 4});
}

}  // namespace

Result<StepRoof> StepRoof::measure(const EngineOptions& options, double seconds) {
  FATHOM_ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(options.model_dir));
  FATHOM_ASSIGN_OR_RETURN(const ModelTraffic traffic, read_traffic(options, config));
  if (options.device == DeviceKind::kCuda) {
    FATHOM_ASSIGN_OR_RETURN(const Moment moment, measure_device(seconds));
    return StepRoof(traffic, moment);
  }
  const double end = monotonic_seconds() + seconds;
  const auto topology = read_topology();
  const uint64_t cache_bytes = topology.ok() ? topology->last_level_cache_bytes : 0;
  const int num_threads = options.num_threads > 0 ? options.num_threads : available_cpus();
  FATHOM_ASSIGN_OR_RETURN(
      const auto meter, CeilingMeter::create(num_threads, choose_read_bytes(cache_bytes, kMaxRoofReadBytes)));
  // Its memory has taken some of the time.
  const double left = std::max(end - monotonic_seconds(), seconds / 4);
  const MomentOptions moment{.probes = tier_probes(detect_cpu_features(), options.isa),
                             .read_seconds = left * 0.4,
                             .compute_seconds = left * 0.2,
                             .pass_bytes = kRoofPassBytes};
  return StepRoof(traffic, measure_moment(*meter, moment));
}

double StepRoof::seconds(const StepWork& work) const {
  const double bytes = traffic_.body_bytes(work.num_tokens) +
                       (work.num_logits > 0 ? traffic_.head_bytes : 0) +
                       static_cast<double>(work.num_keys) * traffic_.cache_bytes_per_token;
  OperationCounts operations;
  operations.add(traffic_.token, static_cast<double>(work.num_tokens));
  operations.add(traffic_.head, static_cast<double>(work.num_logits));
  operations.attention =
      work.expanded_pairs * traffic_.expanded_pair + work.absorbed_pairs * traffic_.absorbed_pair;
  operations.expansion = static_cast<double>(work.num_expanded) * traffic_.expanded_token;
  const auto roof = roof_of(bytes, operations, moment_);
  return roof ? roof->seconds : 0;
}

}  // namespace fathom
