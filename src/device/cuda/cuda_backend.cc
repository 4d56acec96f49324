#include "device/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <system_error>

#include "base/checked_math.h"
#include "base/topology.h"

namespace fathom {
namespace {

using kernels::cuda::LinearBatchParams;
using kernels::cuda::LinearGroup;
using Output = kernels::LinearParams::Output;

constexpr int64_t kFloatBytes = sizeof(float);
constexpr unsigned kEveryForm = ~0u;
// Steps that are worth a graph: sequences' next tokens, with drafts.
constexpr int64_t kMaxGraphTokens = 512;
constexpr int64_t kMaxGraphSegment = 16;

MemoryInfo memory_of(const CudaDevice& device) {
  MemoryInfo memory{.owner = device.facts.name};
  if (const Result<uint64_t> bytes = device.free_bytes(); bytes.ok()) memory.system_available = *bytes;
  return memory;
}

}  // namespace

CudaBackend::CudaBackend(const CudaDevice& device, const CudaBackendOptions& options)
    : device_(device),
      team_(options.num_host_threads > 0 ? options.num_host_threads : available_cpus()),
      graphs_(device),
      staged_(device),
      read_room_(device),
      staged_queries_(device),
      examining_(device),
      store_(device) {}

MemoryInfo CudaBackend::memory() const { return memory_of(device_); }

void CudaBackend::share_out(int64_t count, HostWork work) {
  if (count < 2) return Backend::share_out(count, work);
  team_.share_out(count, work);
}

Result<DeviceBuffer> CudaBackend::allocate(size_t bytes) {
  FATHOM_RETURN_IF_ERROR(graphs_.interrupt());
  const size_t wanted = std::max<size_t>(bytes, 1);
  FATHOM_ASSIGN_OR_RETURN(void* data, device_.allocate(wanted));
  return DeviceBuffer(data, wanted, device_.release);
}

Status CudaBackend::upload(const void* host, void* device, size_t bytes) {
  FATHOM_RETURN_IF_ERROR(graphs_.interrupt());
  return device_.upload(host, device, bytes, device_.stream);
}

Result<const void*> CudaBackend::read_back(const void* device, size_t bytes, std::vector<std::byte>&) {
  FATHOM_RETURN_IF_ERROR(failure_);
  FATHOM_RETURN_IF_ERROR(graphs_.interrupt());
  FATHOM_ASSIGN_OR_RETURN(std::byte* const room, read_room_.reserve(bytes));
  FATHOM_RETURN_IF_ERROR(device_.download_later(device, room, bytes, device_.stream));
  FATHOM_RETURN_IF_ERROR(wait());
  is_in_flight_ = false;
  return static_cast<const void*>(room);
}

Status CudaBackend::copy(const void* from, void* to, size_t bytes) {
  FATHOM_RETURN_IF_ERROR(graphs_.interrupt());
  return device_.copy(from, to, bytes, device_.stream);
}

bool CudaBackend::launches() {
  if (!failure_.ok()) return false;
  return !graphs_.is_open() || !graphs_.replays_operation();
}

bool CudaBackend::launched(int error, const char* kernel) {
  if (error != 0 && failure_.ok())
    failure_ = io_error("the CUDA kernel {} failed with error {}", kernel, error);
  return failure_.ok();
}

bool CudaBackend::leaves_capture() {
  if (graphs_.is_capturing()) failure_ = graphs_.interrupt();
  return failure_.ok();
}

bool CudaBackend::reserve(Scratch& scratch, int64_t bytes) {
  const auto wanted = std::max<size_t>(static_cast<size_t>(bytes), 1);
  if (!failure_.ok()) return false;
  if (scratch.buffer.bytes() >= wanted) return true;
  if (!leaves_capture()) return false;
  scratch.buffer = DeviceBuffer();
  graphs_.drop_all();  // they have the old address
  Result<void*> made = device_.allocate(wanted);
  if (made.ok()) scratch.buffer = DeviceBuffer(made.value(), wanted, device_.release);
  failure_ = made.status();
  return failure_.ok();
}

bool CudaBackend::put(Scratch& scratch, const void* host, int64_t bytes) {
  if (!reserve(scratch, bytes) || !leaves_capture()) return false;
  failure_ = device_.upload(host, scratch.buffer.data(), static_cast<size_t>(bytes), device_.stream);
  return failure_.ok();
}

CudaBackend::Form CudaBackend::form_of(const Weight& weight, ActivationRounding rounding) {
  if (kernels::is_integer(weight.format))
    return weight.int8_inputs == Int8Inputs::kInt8 ? Form::kInt8 : Form::kInt8Pair;
  if (weight.format == kernels::PanelFormat::kBFloat16 && rounding == ActivationRounding::kBFloat16)
    return Form::kBFloat16;
  if (weight.format == kernels::PanelFormat::kFloat16 && rounding == ActivationRounding::kFloat16)
    return Form::kFloat16;
  return Form::kFloat32;
}

unsigned CudaBackend::form_bit(const Weight& weight, ActivationRounding rounding) {
  return 1u << static_cast<int>(form_of(weight, rounding));
}

bool CudaBackend::reserve_rows(Rows& rows, int64_t width, int64_t num_rows, unsigned forms) {
  static constexpr int64_t kBytes[kNumForms] = {4, 2, 1, 2, 2};  // of an element, both digits of a pair
  rows.padded = padded_row(width);
  for (int form = 0; form < kNumForms; ++form) {
    if ((forms >> form & 1u) == 0) continue;
    if (!reserve(rows.values[form], num_rows * rows.padded * kBytes[form])) return false;
    if (!reserve(rows.scales[form], num_rows * kFloatBytes)) return false;
  }
  return failure_.ok();
}

kernels::PreparedRows CudaBackend::prepared_rows(const Rows& rows, Form form) {
  const auto index = static_cast<size_t>(form);
  return {rows.values[index].buffer.data(), rows.scales[index].buffer.floats(), rows.padded};
}

bool CudaBackend::prepare(Rows& rows, const kernels::PrepareParams& params, int64_t num_rows,
                          unsigned forms) {
  if (!reserve_rows(rows, params.width, num_rows, forms)) return false;
  kernels::cuda::PrepareBatchParams batch{.rows = params};
  batch.rows.end = num_rows;
  kernels::PreparedRows* targets[kNumForms] = {&batch.rows.float32, &batch.rows.bfloat16, &batch.rows.int8,
                                               &batch.rows.int8_pair, &batch.float16};
  for (int form = 0; form < kNumForms; ++form)
    if ((forms >> form & 1u) != 0) *targets[form] = prepared_rows(rows, static_cast<Form>(form));
  return launched(device_.kernels.prepare(batch, device_.stream), "prepare");
}

bool CudaBackend::gather(const kernels::cuda::GatherParams& params) {
  return launched(device_.kernels.gather_rows(params, device_.stream), "gather_rows");
}

LinearBatchParams CudaBackend::product(const Weight& weight, const Rows& rows, int64_t num_tokens,
                                       ActivationRounding rounding) const {
  const Form form = form_of(weight, rounding);
  const auto index = static_cast<size_t>(form);
  static constexpr kernels::InputForm kForms[kNumForms] = {
      kernels::InputForm::kFloat32, kernels::InputForm::kBFloat16, kernels::InputForm::kInt8,
      kernels::InputForm::kInt8Pair, kernels::InputForm::kFloat32};
  return {.linear = {.x = rows.values[index].buffer.data(),
                     .x_scales = rows.scales[index].buffer.floats(),
                     .form = kForms[index],
                     .x_stride = rows.padded,
                     .panels = weight.parts[0].panels,
                     .weight_scales = weight.scales,
                     .format = weight.format,
                     .y_stride = weight.rows,
                     .rounding = rounding,
                     .num_tokens = num_tokens,
                     .num_inputs = weight.cols,
                     .num_outputs = weight.rows,
                     .begin = 0,
                     .end = weight.num_panels},
          .float16_inputs = form == Form::kFloat16};
}

void CudaBackend::multiply(const LinearBatchParams& params) {
  if (failure_.ok()) launched(device_.kernels.linear(params, device_.stream), "linear");
}

const CudaBackend::WeightGroups* CudaBackend::groups_of(int64_t count, WeightAt weight,
                                                        ActivationRounding rounding) {
  int64_t first = 0;
  while (!weight(first).present()) ++first;
  WeightGroups& groups = groups_[{weight(first).parts[0].panels, rounding}];
  if (groups.all == nullptr && !make_groups(groups, count, weight, rounding)) return nullptr;
  return &groups;
}

// One upload: the groups of all forms, then those of each.
bool CudaBackend::make_groups(WeightGroups& groups, int64_t count, WeightAt weight,
                              ActivationRounding rounding) {
  std::vector<WeightGroups::OneForm> by_form;
  std::vector<LinearGroup> staged;
  groups.forms = 0;
  const auto append = [&](unsigned forms) {
    for (int64_t i = 0; i < count; ++i) {
      const Weight& own = weight(i);
      const bool chosen = own.present() && (forms & form_bit(own, rounding)) != 0;
      staged.push_back(chosen ? LinearGroup{own.parts[0].panels, own.scales} : LinearGroup{});
    }
  };
  append(kEveryForm);
  for (int64_t i = 0; i < count; ++i) {
    const unsigned form = weight(i).present() ? form_bit(weight(i), rounding) : 0;
    if ((form & ~groups.forms) == 0) continue;
    groups.forms |= form;
    by_form.push_back({.form = form, .example = i});
    append(form);
  }
  Scratch scratch;
  if (!put(scratch, staged.data(), static_cast<int64_t>(staged.size() * sizeof(LinearGroup)))) return false;
  groups.all = scratch.as<LinearGroup>();
  for (size_t i = 0; i < by_form.size(); ++i)
    by_form[i].groups = groups.all + static_cast<int64_t>(i + 1) * count;
  groups.by_form = std::move(by_form);
  groups.storage = std::move(scratch.buffer);
  return true;
}

// One upload: the arrays one after another, those of 8 bytes first, and those whose size a step's shape does
// not tell last, so that a shape's arrays are always at the same addresses.
Status CudaBackend::begin_step(const Batch& batch) {
  FATHOM_RETURN_IF_ERROR(failure_);
  FATHOM_RETURN_IF_ERROR(graphs_.interrupt());
  if (is_in_flight_) FATHOM_RETURN_IF_ERROR(wait());
  batch_ = batch;
  plan_expanded();
  plan_absorbed();
  const std::span split_items(split_plan_.items);
  const std::span split_results(split_plan_.results);
  const std::span key_tiles(expanded_plan_.key_tiles);
  const std::span query_tiles(expanded_plan_.query_tiles);
  const size_t bytes = batch.slots.size_bytes() + batch.token_ids.size_bytes() +
                       batch.positions.size_bytes() + batch.logits_rows.size_bytes() +
                       split_items.size_bytes() + split_results.size_bytes() +
                       batch.page_tables.size_bytes() + key_tiles.size_bytes() + query_tiles.size_bytes();
  FATHOM_ASSIGN_OR_RETURN(std::byte* const staged, staged_.reserve(bytes));
  if (!reserve(arrays_.storage, static_cast<int64_t>(staged_.bytes()))) return failure_;
  auto* data = arrays_.storage.as<std::byte>();
  size_t size = 0;
  const auto append = [&](const auto& values, auto& place) {
    if (!values.empty()) std::memcpy(staged + size, values.data(), values.size_bytes());
    place = reinterpret_cast<std::remove_reference_t<decltype(place)>>(data + size);
    size += values.size_bytes();
  };
  append(batch.slots, arrays_.slots);
  append(batch.token_ids, arrays_.token_ids);
  append(batch.positions, arrays_.positions);
  append(batch.logits_rows, arrays_.logits_rows);
  append(split_items, arrays_.split_items);
  append(split_results, arrays_.split_results);
  append(batch.page_tables, arrays_.page_tables);
  append(key_tiles, arrays_.key_tiles);
  append(query_tiles, arrays_.query_tiles);
  is_in_flight_ = true;
  return device_.upload_later(staged, data, size, device_.stream);
}

bool CudaBackend::is_graph_step() const {
  if (!is_alone_ || batch_.logits_rows.empty() || batch_.num_tokens() > kMaxGraphTokens) return false;
  if (split_plan_.passes.size() != 1) return false;
  for (size_t b = 0; b < batch_.forms.size(); ++b) {
    if (batch_.forms[b] != AttentionForm::kAbsorbed) return false;
    if (batch_.starts[b + 1] - batch_.starts[b] > kMaxGraphSegment) return false;
  }
  return true;
}

void CudaBackend::embed(const EmbeddingTable& table, float* out) {
  if (failure_.ok() && is_graph_step()) {
    failure_ = graphs_.begin({.model = table.data,
                              .num_tokens = batch_.num_tokens(),
                              .num_logits_rows = std::ssize(batch_.logits_rows),
                              .num_split_items = std::ssize(split_plan_.items),
                              .max_item_rows = split_plan_.max_item_rows});
  }
  if (!launches()) return;
  launched(device_.kernels.embed({.table = table.data,
                                  .dtype = table.dtype,
                                  .token_ids = arrays_.token_ids,
                                  .out = out,
                                  .first_row = table.first_row,
                                  .rows = table.rows,
                                  .cols = table.cols,
                                  .num_tokens = batch_.num_tokens()},
                                 device_.stream),
           "embed");
}

void CudaBackend::project(const ProjectOp& op) {
  if (launches()) run_project(op);
}

void CudaBackend::run_project(const ProjectOp& op) {
  const int64_t width = op.outputs[0].weight->cols;
  unsigned forms = 0;
  for (const Projection& output : op.outputs) forms |= form_bit(*output.weight, op.rounding);
  if (!prepare(inputs_,
               {.x = op.x,
                .norm_weight = op.norm.weight != nullptr ? op.norm.weight->data : nullptr,
                .width = width,
                .x_stride = op.x_stride != 0 ? op.x_stride : width,
                .eps = op.norm.eps,
                .rounding = op.rounding},
               op.num_tokens, forms))
    return;
  for (const Projection& output : op.outputs) {
    LinearBatchParams params = product(*output.weight, inputs_, op.num_tokens, op.rounding);
    params.linear.bias = output.bias != nullptr ? output.bias->data : nullptr;
    params.linear.y = output.y;
    params.linear.output = output.output == Projection::Output::kAdd ? Output::kAdd : Output::kStore;
    multiply(params);
  }
}

void CudaBackend::store_latent(const StoreLatentOp& op) {
  if (!launches()) return;
  const int64_t num_tokens = batch_.num_tokens();
  launched(device_.kernels.rope_query({.q = op.q,
                                       .positions = arrays_.positions,
                                       .cos_table = op.tables.cosines,
                                       .sin_table = op.tables.sines,
                                       .num_heads = op.num_heads,
                                       .nope_dim = op.nope_dim,
                                       .rope_dim = op.cache.rope_dim,
                                       .end = num_tokens},
                                      device_.stream),
           "rope_query");
  launched(device_.kernels.store_latent({.kv_a = op.kv_a,
                                         .norm_weight = op.norm.weight->data,
                                         .positions = arrays_.positions,
                                         .slots = arrays_.slots,
                                         .cos_table = op.tables.cosines,
                                         .sin_table = op.tables.sines,
                                         .cache = op.cache,
                                         .eps = op.norm.eps,
                                         .end = num_tokens},
                                        device_.stream),
           "store_latent");
}

// A step's last operation.
void CudaBackend::head(const HeadOp& op) {
  if (launches()) run_head(op);
  if (const Status status = graphs_.end(); failure_.ok()) failure_ = status;
}

void CudaBackend::run_head(const HeadOp& op) {
  const auto num_rows = static_cast<int64_t>(batch_.logits_rows.size());
  const int64_t width = op.weight->cols;
  if (!reserve(head_rows_, num_rows * width * kFloatBytes)) return;
  gather({.from = op.x,
          .rows = arrays_.logits_rows,
          .to = head_rows_.as<float>(),
          .from_stride = width,
          .to_stride = width,
          .num_rows = num_rows,
          .width = width});
  const Projection output{.weight = op.weight, .y = op.logits};
  run_project({.x = head_rows_.as<float>(),
               .norm = op.norm,
               .outputs = {&output, 1},
               .num_tokens = num_rows,
               .rounding = op.rounding});
}

void CudaBackend::clear(float* x, int64_t count) {
  if (launches()) launched(device_.kernels.clear_or_add({.x = x, .count = count}, device_.stream), "clear");
}

void CudaBackend::add(const float* x, float* y, int64_t count) {
  if (!launches()) return;
  launched(device_.kernels.clear_or_add({.x = const_cast<float*>(x), .y = y, .count = count}, device_.stream),
           "add");
}

void CudaBackend::copy_rows(const CopyRowsOp& op) {
  if (!launches()) return;
  gather({.from = op.from,
          .to = op.to,
          .from_stride = op.from_stride,
          .to_stride = op.to_stride,
          .num_rows = op.num_rows,
          .width = op.width});
}

Result<std::unique_ptr<Backend>> make_cuda_backend(const CudaBackendOptions& options) {
  const int ordinal = options.local_rank % std::max(1, count_cuda_devices());
  FATHOM_ASSIGN_OR_RETURN(const CudaDevice device, open_cuda_device(ordinal));
  try {
    return std::unique_ptr<Backend>(std::make_unique<CudaBackend>(device, options));
  } catch (const std::system_error& error) {
    return resource_exhausted("cannot start the host's threads: {}; lower --threads", error.what());
  }
}

Result<MemoryInfo> read_cuda_memory(int ordinal) {
  FATHOM_ASSIGN_OR_RETURN(const CudaDevice device, open_cuda_device(ordinal));
  return memory_of(device);
}

}  // namespace fathom
