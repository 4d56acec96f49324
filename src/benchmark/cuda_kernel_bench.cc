#include "benchmark/cuda_kernel_bench.h"

#include <algorithm>

#include "benchmark/cuda_kernel_section.h"

namespace fathom {
namespace {

using kernels::LinearParams;

// Of the head, which is the only matrix beyond.
constexpr int64_t kMaxCudaOutputs = 32768;
// Of the device's memory, at most.
constexpr uint64_t kPoolShare = 128;

// All that tensor cores multiply has a rate on a device.
double OperationCounts::*operations_of(const LinearFormat& format) {
  return format.dtype == DType::kFloat16 ? &OperationCounts::bfloat16 : format.operations;
}

bool is_routed(const LinearShape& shape) { return std::string_view(shape.name).starts_with("expert"); }

// An expert's product for a step of num_tokens tokens: all the experts that they may choose at once.
CudaLinear::Sizes sizes_of(const CudaKernelBench& bench, const LinearShape& shape, int64_t num_tokens) {
  const ModelConfig& config = bench.options.config;
  CudaLinear::Sizes sizes{.outputs = std::min(shape.outputs, kMaxCudaOutputs),
                          .inputs = shape.inputs,
                          .num_tokens = num_tokens,
                          .output = shape.output};
  if (!is_routed(shape)) return sizes;
  const int64_t num_pairs = num_tokens * config.num_experts_per_tok;
  sizes.num_groups = std::min(num_pairs, config.n_routed_experts);
  sizes.num_tokens = num_pairs / sizes.num_groups * sizes.num_groups;
  // The backend stores pairs apart and sums them afterwards.
  if (shape.output == LinearParams::Output::kAddWeighted) sizes.output = LinearParams::Output::kStore;
  return sizes;
}

KernelRow linear_row(const LinearFormat& format, const LinearShape& shape, const CudaLinear::Sizes& sizes,
                     const CudaLinear& linear, int64_t num_tokens) {
  const std::string experts = sizes.num_groups > 1 ? fmt::format("{} of ", sizes.num_groups) : "";
  KernelRow row{.name = shape.name,
                .kernel = "cuda",
                .shape = fmt::format("{}{}{} x {}", experts, shape.step() == 2 ? "2 x " : "", sizes.outputs,
                                     sizes.inputs),
                .tokens = num_tokens,
                .bytes = linear.weight_bytes(),
                .rotated_bytes = linear.rotated_bytes()};
  row.operations.*operations_of(format) = linear.num_operations();
  return row;
}

Result<KernelSection> bench_format(const CudaKernelBench& bench, KernelGroup group,
                                   const LinearFormat& format, std::span<const LinearShape> shapes) {
  FATHOM_ASSIGN_OR_RETURN(const DeviceBuffer pool,
                          random_cuda_memory(bench.device, bench.pool_bytes, format.dtype));
  OperationCounts kinds;
  kinds.*operations_of(format) = 1;
  FATHOM_ASSIGN_OR_RETURN(
      CudaSection section,
      CudaSection::begin(bench, {.group = group,
                                 .name = format.name,
                                 .kinds = kinds,
                                 .num_rows = shapes.size() * bench.options.tokens.size()}));
  for (const LinearShape& shape : shapes) {
    for (const int64_t num_tokens : bench.options.tokens) {
      const CudaLinear::Sizes sizes = sizes_of(bench, shape, num_tokens);
      FATHOM_ASSIGN_OR_RETURN(const CudaLinear linear, CudaLinear::create(bench.device, pool, format, sizes));
      FATHOM_RETURN_IF_ERROR(section.add(linear_row(format, shape, sizes, linear, num_tokens),
                                         [&](int64_t call) { return linear.launch(call); }));
    }
  }
  return section.finish();
}

Status bench_linears(const CudaKernelBench& bench, KernelGroup group, KernelBenchReport& report) {
  const std::vector<LinearShape> shapes = linear_shapes(bench.options.config, group);
  for (const LinearFormat& format : kLinearFormats) {
    if (format.dtype == DType::kFloat32) continue;  // not on tensor cores
    std::vector<LinearShape> stored = shapes;
    std::erase_if(stored,
                  [&](const LinearShape& shape) { return format.is_integer() && shape.never_integer; });
    if (stored.empty()) continue;
    FATHOM_ASSIGN_OR_RETURN(KernelSection section, bench_format(bench, group, format, stored));
    report.sections.push_back(std::move(section));
  }
  return ok_status();
}

}  // namespace

CudaSection::CudaSection(const CudaKernelBench& bench, SectionPlan plan)
    : bench_(bench),
      plan_(std::move(plan)),
      moment_options_{.probes = needed_rates(cuda_probes(), plan_.kinds),
                      .read_seconds = std::min(MomentOptions().read_seconds, bench.options.seconds),
                      .compute_seconds = std::min(MomentOptions().compute_seconds, bench.options.seconds)} {
  section_.group = plan_.group;
  section_.name = plan_.name;
}

Result<CudaSection> CudaSection::begin(const CudaKernelBench& bench, SectionPlan plan) {
  CudaSection section(bench, std::move(plan));
  FATHOM_ASSIGN_OR_RETURN(section.section_.moment, bench.meter.measure(section.moment_options_));
  return section;
}

Status CudaSection::add(KernelRow row, FunctionRef<int(int64_t call)> launch) {
  FATHOM_ASSIGN_OR_RETURN(row.time, time_launches(bench_.device, bench_.options.seconds, launch));
  section_.rows.push_back(std::move(row));
  if (bench_.progress != nullptr) {
    bench_.progress->report(fmt::format("{} {}", kernel_group_name(plan_.group), plan_.name),
                            section_.rows.size(), plan_.num_rows);
  }
  return ok_status();
}

Result<KernelSection> CudaSection::finish() {
  FATHOM_ASSIGN_OR_RETURN(const Moment after, bench_.meter.measure(moment_options_));
  section_.moment = better_of(section_.moment, after);
  for (KernelRow& row : section_.rows) row.roof = roof_of(row.bytes, row.operations, section_.moment);
  return std::move(section_);
}

Result<KernelBenchReport> bench_cuda_kernels(const CudaDevice& device, const KernelBenchOptions& options,
                                             ProgressSink* progress) {
  FATHOM_RETURN_IF_ERROR(check_kernel_options(options));
  FATHOM_ASSIGN_OR_RETURN(const auto meter, CudaMeter::create(device));
  const int64_t pool_bytes =
      std::min(static_cast<int64_t>(options.pool_bytes), memory_share(device, kPoolShare));
  const CudaKernelBench bench{
      .device = device, .options = options, .meter = *meter, .pool_bytes = pool_bytes, .progress = progress};
  KernelBenchReport report{.model = options.model, .device = device.facts.name};
  for (const KernelGroup group : {KernelGroup::kLinear, KernelGroup::kExperts}) {
    if (options.only.value_or(group) == group) FATHOM_RETURN_IF_ERROR(bench_linears(bench, group, report));
  }
  if (options.only.value_or(KernelGroup::kAttention) == KernelGroup::kAttention) {
    FATHOM_ASSIGN_OR_RETURN(std::vector<KernelSection> sections, bench_cuda_attention(bench));
    std::move(sections.begin(), sections.end(), std::back_inserter(report.sections));
  }
  return report;
}

}  // namespace fathom
