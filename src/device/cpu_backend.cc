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

// Outputs of a linear are shared out in multiples of a cache line of floats, so that no two threads write
// one.
constexpr int64_t kOutputStep = 16;

void release_mapping(void* data, size_t bytes) { ::munmap(data, bytes); }

Weight describe_weight(const TensorView& tensor) {
  Weight weight;
  weight.dtype = tensor.dtype;
  weight.rows = tensor.shape.rank() == 2 ? tensor.shape[0] : 1;
  weight.cols = tensor.shape.rank() == 2 ? tensor.shape[1] : tensor.shape.num_elements();
  return weight;
}

}  // namespace

CpuBackend::CpuBackend(const CpuBackendOptions& options)
    : team_(choose_placement(options.num_threads > 0 ? options.num_threads : available_cpus())),
      kernels_(kernels::select_kernels(options.isa)),
      scratch_(kThreadScratch + static_cast<size_t>(team_.size())) {}

Result<DeviceBuffer> CpuBackend::allocate(size_t bytes) {
  const size_t mapped = std::max<size_t>(bytes, 1);
  void* data = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return resource_exhausted("cannot allocate {} bytes of memory", bytes);
  return DeviceBuffer(data, mapped, release_mapping);
}

Result<Weight> CpuBackend::load_weight(const TensorView& tensor) {
  Weight weight = describe_weight(tensor);
  weight.data = tensor.data;
  return weight;
}

Result<Weight> CpuBackend::load_float_weight(const TensorView& tensor) {
  if (tensor.dtype == DType::kFloat32) return load_weight(tensor);
  Weight weight = describe_weight(tensor);
  const int64_t count = tensor.shape.num_elements();
  FATHOM_ASSIGN_OR_RETURN(weight.storage, allocate(static_cast<size_t>(count) * sizeof(float)));
  for (int64_t i = 0; i < count; ++i)
    weight.storage.floats()[i] = kernels::ref::load_element(tensor.data, tensor.dtype, i);
  weight.dtype = DType::kFloat32;
  weight.data = weight.storage.data();
  return weight;
}

Status CpuBackend::upload(const void* host, void* device, size_t bytes) {
  std::memcpy(device, host, bytes);
  return ok_status();
}

Status CpuBackend::download(const void* device, void* host, size_t bytes) {
  std::memcpy(host, device, bytes);
  return ok_status();
}

Status CpuBackend::begin_step(const Batch& batch) {
  batch_ = batch;
  plan_attention();
  return ok_status();
}

void CpuBackend::embed(const Weight& table, float* out) {
  for (int64_t t = 0; t < batch_.num_tokens(); ++t) {
    const int64_t first = static_cast<int64_t>(batch_.token_ids[static_cast<size_t>(t)]) * table.cols;
    for (int64_t i = 0; i < table.cols; ++i)
      out[t * table.cols + i] = kernels::ref::load_element(table.data, table.dtype, first + i);
  }
}

void CpuBackend::rms_norm(const NormOp& op) {
  team_.run([&](int thread) {
    const IndexRange share = static_share(op.num_tokens, 1, thread, team_.size());
    kernels_.rms_norm({.x = op.x,
                       .weight = op.weight->floats(),
                       .y = op.y,
                       .width = op.width,
                       .x_stride = op.width,
                       .y_stride = op.width,
                       .eps = op.eps,
                       .begin = share.begin,
                       .end = share.end,
                       .rounding = op.rounding});
  });
}

void CpuBackend::linear(const LinearOp& op) {
  team_.run([&](int thread) {
    const IndexRange share = static_share(op.weight->rows, kOutputStep, thread, team_.size());
    kernels_.linear({.x = op.x,
                     .weight = op.weight->data,
                     .bias = op.bias != nullptr ? op.bias->floats() : nullptr,
                     .y = op.y,
                     .num_tokens = op.num_tokens,
                     .num_inputs = op.weight->cols,
                     .x_stride = op.weight->cols,
                     .y_stride = op.weight->rows,
                     .begin = share.begin,
                     .end = share.end,
                     .weight_dtype = op.weight->dtype,
                     .output = op.output});
  });
}

void CpuBackend::rope_query(const RopeQueryOp& op) {
  team_.run([&](int thread) {
    const IndexRange share = static_share(batch_.num_tokens(), 1, thread, team_.size());
    kernels_.rope_query({.q = op.q,
                         .positions = batch_.positions.data(),
                         .cos_table = op.tables.cosines,
                         .sin_table = op.tables.sines,
                         .num_heads = op.num_heads,
                         .nope_dim = op.nope_dim,
                         .rope_dim = op.rope_dim,
                         .begin = share.begin,
                         .end = share.end});
  });
}

void CpuBackend::store_latent(const StoreLatentOp& op) {
  team_.run([&](int thread) {
    const IndexRange share = static_share(batch_.num_tokens(), 1, thread, team_.size());
    kernels_.store_latent({.kv_a = op.kv_a,
                           .norm_weight = op.norm_weight->floats(),
                           .positions = batch_.positions.data(),
                           .slots = batch_.slots.data(),
                           .cos_table = op.tables.cosines,
                           .sin_table = op.tables.sines,
                           .cache = op.cache,
                           .eps = op.eps,
                           .begin = share.begin,
                           .end = share.end});
  });
}

void CpuBackend::route(const RouteOp& op) {
  const int64_t num_experts = op.weight->rows;
  float* logits = scratch(kRouterLogits, op.num_tokens * num_experts);
  linear({.x = op.x, .weight = op.weight, .y = logits, .num_tokens = op.num_tokens});
  float* scores = scratch(kRouterScores, (num_experts + op.n_group) * team_.size());
  team_.run([&](int thread) {
    const IndexRange share = static_share(op.num_tokens, 1, thread, team_.size());
    kernels_.router({.logits = logits,
                     .expert_ids = op.expert_ids,
                     .expert_weights = op.expert_weights,
                     .scratch = scores + thread * (num_experts + op.n_group),
                     .num_experts = num_experts,
                     .experts_per_token = op.experts_per_token,
                     .n_group = op.n_group,
                     .topk_group = op.topk_group,
                     .scaling = op.scaling,
                     .weights = op.weights,
                     .begin = share.begin,
                     .end = share.end});
  });
}

void CpuBackend::gather_logits_rows(const float* x, int64_t width, float* out) {
  for (size_t i = 0; i < batch_.logits_rows.size(); ++i) {
    std::memcpy(out + static_cast<int64_t>(i) * width, x + batch_.logits_rows[i] * width,
                static_cast<size_t>(width) * sizeof(float));
  }
}

const int32_t* CpuBackend::page_table(int64_t segment) const {
  return batch_.page_tables.data() + batch_.page_table_starts[static_cast<size_t>(segment)];
}

float* CpuBackend::scratch(size_t id, int64_t count) {
  std::vector<float>& buffer = scratch_[id];
  if (static_cast<int64_t>(buffer.size()) < count) buffer.resize(static_cast<size_t>(count));
  return buffer.data();
}

Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuBackendOptions& options) {
  try {
    return std::unique_ptr<Backend>(std::make_unique<CpuBackend>(options));
  } catch (const std::system_error& error) {
    return resource_exhausted("cannot start {} compute threads: {}; lower --threads", options.num_threads,
                              error.what());
  }
}

}  // namespace fathom
