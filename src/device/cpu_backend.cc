#include "device/cpu_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <system_error>

#include "base/check.h"
#include "base/checked_math.h"
#include "kernels/ref/numbers.h"

namespace fathom {
namespace {

// Panels that are claimed together: what the kernels take side by side.
constexpr int64_t kClaimPanels = 4;
// Element by element operations are cut at whole cache lines.
constexpr int64_t kElementStep = 16;

void release_mapping(void* data, size_t bytes) { ::munmap(data, bytes); }

}  // namespace

CpuBackend::CpuBackend(Placement placement, Isa isa)
    : team_(std::move(placement)),
      seats_(node_seats(team_)),
      kernels_(kernels::select_kernels(isa)),
      claims_(team_.num_nodes()),
      arena_(team_.num_nodes()),
      expanded_items_(static_cast<size_t>(team_.size())),
      thread_scratch_(static_cast<size_t>(team_.size())) {}

Result<DeviceCommunicator*> CpuBackend::connect(Communicator& communicator) {
  ranks_ = std::make_unique<CpuCommunicator>(communicator);
  return ranks_.get();
}

Result<DeviceBuffer> CpuBackend::allocate(size_t bytes) {
  const size_t mapped = std::max<size_t>(bytes, 1);
  void* data = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return resource_exhausted("cannot allocate {} bytes of memory", bytes);
  ::madvise(data, mapped, MADV_HUGEPAGE);  // only speed is lost where it is refused
  return DeviceBuffer(data, mapped, release_mapping);
}

Status CpuBackend::upload(const void* host, void* device, size_t bytes) {
  std::memcpy(device, host, bytes);
  return ok_status();
}

void CpuBackend::share_out(int64_t count, HostWork work) {
  if (count < 2) return Backend::share_out(count, work);
  team_.share_out(count, work);
}

Result<const void*> CpuBackend::read_back(const void* device, size_t, std::vector<std::byte>&) {
  return device;
}

Status CpuBackend::copy(const void* from, void* to, size_t bytes) {
  std::memcpy(to, from, bytes);
  return ok_status();
}

Status CpuBackend::begin_step(const Batch& batch) {
  batch_ = batch;
  plan_attention();
  return ok_status();
}

InputForm CpuBackend::input_form(kernels::PanelFormat format, Int8Inputs int8_inputs,
                                 ActivationRounding rounding) const {
  if (kernels::is_integer(format))
    return int8_inputs == Int8Inputs::kInt8 ? InputForm::kInt8 : InputForm::kInt8Pair;
  const bool bf16 = format == kernels::PanelFormat::kBFloat16 && rounding == ActivationRounding::kBFloat16;
  return bf16 && kernels_.has_bf16_products ? InputForm::kBFloat16 : InputForm::kFloat32;
}

kernels::PrepareParams CpuBackend::prepare_params(const InputRows& rows, const float* x, int64_t width,
                                                  const Norm& norm, ActivationRounding rounding) const {
  kernels::PrepareParams params{.x = x,
                                .norm_weight = norm.weight != nullptr ? norm.weight->data : nullptr,
                                .width = width,
                                .x_stride = width,
                                .eps = norm.eps,
                                .rounding = rounding,
                                .int8_zero_point = kernels_.int8_zero_point};
  rows.set_destinations(params, 0);
  return params;
}

void CpuBackend::prepare_inputs(const kernels::PrepareParams& params, int64_t num_tokens, int thread) const {
  const IndexRange tokens = static_share(num_tokens, 1, thread, team_.size());
  kernels::PrepareParams share = params;
  share.begin = tokens.begin;
  share.end = tokens.end;
  kernels_.prepare(share);
}

kernels::LinearParams CpuBackend::linear_params(const Weight& weight, int thread) {
  const auto node = static_cast<size_t>(seats_[static_cast<size_t>(thread)].node);
  AlignedBuffer& scratch = thread_scratch_[static_cast<size_t>(thread)];
  if (weight.format == kernels::PanelFormat::kInt4)
    scratch.reserve(static_cast<size_t>(kernels::int4_scratch_bytes(weight.cols)));
  return {.int8_zero_point = kernels_.int8_zero_point,
          .panels = weight.parts[node].panels,
          .weight_scales = weight.scales,
          .weight_sums = weight.sums,
          .scratch = scratch.data(),
          .format = weight.format,
          .num_inputs = weight.cols,
          .num_outputs = weight.rows};
}

void CpuBackend::multiply(const Weight& weight, const InputRows& rows, int64_t num_tokens,
                          ActivationRounding rounding, const kernels::LinearParams& target, int64_t phase,
                          int thread) {
  const NodeSeat& seat = seats_[static_cast<size_t>(thread)];
  const auto node = static_cast<size_t>(seat.node);
  const WeightPart& part = weight.parts[node];
  const InputForm form = input_form(weight, rounding);
  const auto run = [&](const ProductShare& share) {
    if (share.empty()) return;
    kernels::LinearParams params = linear_params(weight, thread);
    rows.set_inputs(params, form, share.tokens.begin);
    params.bias = target.bias;
    params.y = target.y + share.tokens.begin * target.y_stride;
    params.y_stride = target.y_stride;
    params.output = target.output;
    params.num_tokens = share.tokens.size();
    params.begin = share.panels.begin;
    params.end = share.panels.end;
    kernels_.linear(form, weight.format)(params);
  };
  const int64_t num_panels = part.end - part.begin;
  if (!has_panels_to_claim(num_panels, seat)) {
    run(product_share({part.begin, part.end}, 1, num_tokens, seat));
    return;
  }
  while (true) {
    const IndexRange panels =
        claims_.claim(phase, seat.node, num_panels, kClaimPanels, kClaimPanels, seat.num_threads);
    if (panels.size() == 0) return;
    run({.panels = {part.begin + panels.begin, part.begin + panels.end}, .tokens = {0, num_tokens}});
  }
}

void CpuBackend::embed(const EmbeddingTable& table, float* out) {
  team_.run([&](int thread) {
    const IndexRange tokens = static_share(batch_.num_tokens(), 1, thread, team_.size());
    for (int64_t t = tokens.begin; t < tokens.end; ++t) {
      const int64_t row = batch_.token_ids[static_cast<size_t>(t)] - table.first_row;
      float* to = out + t * table.cols;
      if (row < 0 || row >= table.rows) {
        std::fill(to, to + table.cols, 0.0f);
        continue;
      }
      for (int64_t i = 0; i < table.cols; ++i)
        to[i] = kernels::ref::load_element(table.data, table.dtype, row * table.cols + i);
    }
  });
}

void CpuBackend::project(const ProjectOp& op) {
  const int64_t width = op.outputs[0].weight->cols;
  FormSet forms;
  for (const Projection& output : op.outputs) forms.add(input_form(*output.weight, op.rounding));
  inputs_.resize(op.num_tokens, width, forms);
  claims_.reset(static_cast<int64_t>(op.outputs.size()));
  kernels::PrepareParams params = prepare_params(inputs_, op.x, width, op.norm, op.rounding);
  if (op.x_stride != 0) params.x_stride = op.x_stride;
  team_.run([&](int thread) {
    prepare_inputs(params, op.num_tokens, thread);
    team_.barrier();
    for (size_t i = 0; i < op.outputs.size(); ++i) {
      const Projection& output = op.outputs[i];
      multiply(*output.weight, inputs_, op.num_tokens, op.rounding,
               {.bias = output.bias != nullptr ? output.bias->data : nullptr,
                .y = output.y,
                .y_stride = output.weight->rows,
                .output = output.output == Projection::Output::kAdd ? kernels::LinearParams::Output::kAdd
                                                                    : kernels::LinearParams::Output::kStore},
               static_cast<int64_t>(i), thread);
    }
  });
}

void CpuBackend::store_latent(const StoreLatentOp& op) {
  team_.run([&](int thread) {
    const IndexRange share = static_share(batch_.num_tokens(), 1, thread, team_.size());
    kernels_.rope_query({.q = op.q,
                         .positions = batch_.positions.data(),
                         .cos_table = op.tables.cosines,
                         .sin_table = op.tables.sines,
                         .num_heads = op.num_heads,
                         .nope_dim = op.nope_dim,
                         .rope_dim = op.cache.rope_dim,
                         .begin = share.begin,
                         .end = share.end});
    kernels_.store_latent({.kv_a = op.kv_a,
                           .norm_weight = op.norm.weight->data,
                           .positions = batch_.positions.data(),
                           .slots = batch_.slots.data(),
                           .cos_table = op.tables.cosines,
                           .sin_table = op.tables.sines,
                           .cache = op.cache,
                           .eps = op.norm.eps,
                           .begin = share.begin,
                           .end = share.end});
  });
}

void CpuBackend::head(const HeadOp& op) {
  const auto num_rows = static_cast<int64_t>(batch_.logits_rows.size());
  const int64_t width = op.weight->cols;
  head_rows_.reserve(static_cast<size_t>(num_rows * width) * sizeof(float));
  for (int64_t i = 0; i < num_rows; ++i) {
    std::memcpy(head_rows_.floats() + i * width, op.x + batch_.logits_rows[static_cast<size_t>(i)] * width,
                static_cast<size_t>(width) * sizeof(float));
  }
  const Projection output{.weight = op.weight, .y = op.logits};
  project({.x = head_rows_.floats(),
           .norm = op.norm,
           .outputs = {&output, 1},
           .num_tokens = num_rows,
           .rounding = op.rounding});
}

void CpuBackend::clear(float* x, int64_t count) {
  team_.run([&](int thread) {
    const IndexRange share = static_share(count, kElementStep, thread, team_.size());
    std::fill(x + share.begin, x + share.end, 0.0f);
  });
}

void CpuBackend::add(const float* x, float* y, int64_t count) {
  team_.run([&](int thread) {
    const IndexRange share = static_share(count, kElementStep, thread, team_.size());
    for (int64_t i = share.begin; i < share.end; ++i) y[i] += x[i];
  });
}

void CpuBackend::copy_rows(const CopyRowsOp& op) {
  team_.run([&](int thread) {
    const IndexRange rows = static_share(op.num_rows, 1, thread, team_.size());
    for (int64_t i = rows.begin; i < rows.end; ++i)
      std::copy_n(op.from + i * op.from_stride, op.width, op.to + i * op.to_stride);
  });
}

const int32_t* CpuBackend::page_table(int64_t segment) const {
  return batch_.page_tables.data() + batch_.page_table_starts[static_cast<size_t>(segment)];
}

Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuBackendOptions& options) {
  const int num_threads = options.num_threads > 0 ? options.num_threads : available_cpus();
  try {
    return std::unique_ptr<Backend>(std::make_unique<CpuBackend>(choose_placement(num_threads), options.isa));
  } catch (const std::system_error& error) {
    return resource_exhausted("cannot start {} compute threads: {}; lower --threads", num_threads,
                              error.what());
  }
}

}  // namespace fathom
