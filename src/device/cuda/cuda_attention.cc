// Absorbed attention of the CUDA backend: queries are folded into latent space, attend in splits, and the
// merged results come out through the value rows. Products per head are groups of one launch.
#include "device/cuda/cuda_backend.h"

namespace fathom {
namespace {

using kernels::cuda::LinearBatchParams;

// Rows are taken in passes whose partial results stay below this, unless one group of rows has more. A step
// of several passes is no graph: their number and sizes depend on positions. At this many bytes its launches
// cost nothing beside its work.
constexpr int64_t kPartialBytes = int64_t{256} << 20;
constexpr int64_t kFloat = sizeof(float);

}  // namespace

void CudaBackend::plan_absorbed() {
  split_rows_.clear();
  for (size_t b = 0; b < batch_.forms.size(); ++b) {
    if (batch_.forms[b] == AttentionForm::kExpanded) continue;
    for (int32_t row = batch_.starts[b]; row < batch_.starts[b + 1]; ++row)
      split_rows_.push_back({row, batch_.page_table_starts[b], batch_.positions[static_cast<size_t>(row)]});
  }
  kernels::cuda::plan_splits(split_rows_, kPartialBytes / (result_floats_ * kFloat), split_plan_);
}

void CudaBackend::attend(const AttendOp& op) {
  if (!launches()) return;
  attend_expanded(op);
  for (const kernels::cuda::SplitPass& pass : split_plan_.passes) attend_rows(op, pass);
}

void CudaBackend::attend_rows(const AttendOp& op, const kernels::cuda::SplitPass& pass) {
  const float* q = op.q + pass.first_row * op.num_heads * (op.nope_dim + op.cache.rope_dim);
  if (!fold_queries(op, q, pass.num_rows) || !attend_splits(op, pass) || !merge_splits(op, pass)) return;
  multiply_heads(op.kv_b->values, head_inputs_, pass.num_rows,
                 op.out + pass.first_row * op.num_heads * op.v_dim, op.v_dim, op.rounding);
}

// folded_ [rows, H, R + r]: the key rows times the unrotated part, then the rotated part as it is.
bool CudaBackend::fold_queries(const AttendOp& op, const float* q, int64_t num_rows) {
  const int64_t num_queries = num_rows * op.num_heads;
  const int64_t query_dim = op.nope_dim + op.cache.rope_dim;
  const int64_t width = op.cache.latent_dim + op.cache.rope_dim;
  if (!reserve(folded_, num_queries * width * kFloat)) return false;
  if (!prepare(head_inputs_, {.x = q, .width = op.nope_dim, .x_stride = query_dim, .rounding = op.rounding},
               num_queries, form_bit(op.kv_b->absorb[0], op.rounding)))
    return false;
  multiply_heads(op.kv_b->absorb, head_inputs_, num_rows, folded_.as<float>(), width, op.rounding);
  return gather({.from = q + op.nope_dim,
                 .to = folded_.as<float>() + op.cache.latent_dim,
                 .from_stride = query_dim,
                 .to_stride = width,
                 .num_rows = num_queries,
                 .width = op.cache.rope_dim});
}

kernels::AttentionPrecision CudaBackend::attention_precision(const AttendOp& op) {
  if (op.rounding == ActivationRounding::kNone) return kernels::AttentionPrecision::kFloat32;
  if (op.cache.rope_dtype == DType::kBFloat16) return kernels::AttentionPrecision::kBFloat16;
  if (op.cache.rope_dtype == DType::kFloat16) return kernels::AttentionPrecision::kFloat16;
  return kernels::AttentionPrecision::kFloat32;
}

// split_out_ [results, H, R], split_max_ and split_sum_ [results, H]
bool CudaBackend::attend_splits(const AttendOp& op, const kernels::cuda::SplitPass& pass) {
  const int64_t heads = kernels::cuda::result_room(split_plan_, pass) * op.num_heads;
  if (!reserve(split_out_, heads * op.cache.latent_dim * kFloat) || !reserve(split_max_, heads * kFloat) ||
      !reserve(split_sum_, heads * kFloat))
    return false;
  return launched(device_.kernels.absorbed_attention({.q = folded_.as<float>(),
                                                      .page_tables = arrays_.page_tables,
                                                      .items = arrays_.split_items + pass.first_item,
                                                      .out = split_out_.as<float>(),
                                                      .max = split_max_.as<float>(),
                                                      .sum = split_sum_.as<float>(),
                                                      .cache = op.cache,
                                                      .num_items = pass.num_items,
                                                      .max_item_rows = split_plan_.max_item_rows,
                                                      .num_heads = op.num_heads,
                                                      .scale = op.scale,
                                                      .precision = attention_precision(op)},
                                                     device_.stream),
                  "absorbed_attention");
}

// head_inputs_ of the value rows: in bf16 as the merge writes them, else prepared.
bool CudaBackend::merge_splits(const AttendOp& op, const kernels::cuda::SplitPass& pass) {
  const int64_t num_queries = pass.num_rows * op.num_heads;
  const int64_t latent_dim = op.cache.latent_dim;
  const bool is_bf16 = form_of(op.kv_b->values[0], op.rounding) == Form::kBFloat16;
  kernels::cuda::MergeBatchParams params{.out = split_out_.as<float>(),
                                         .max = split_max_.as<float>(),
                                         .sum = split_sum_.as<float>(),
                                         .results = arrays_.split_results + pass.first_result,
                                         .num_rows = pass.num_rows,
                                         .num_heads = op.num_heads,
                                         .latent_dim = latent_dim};
  if (is_bf16) {
    if (!reserve_rows(head_inputs_, latent_dim, num_queries, form_bit(op.kv_b->values[0], op.rounding)))
      return false;
    params.bfloat16 = prepared_rows(head_inputs_, Form::kBFloat16);
  } else {
    if (!reserve(merged_, num_queries * latent_dim * kFloat)) return false;
    params.y = merged_.as<float>();
  }
  if (!launched(device_.kernels.merge_splits(params, device_.stream), "merge_splits")) return false;
  return is_bf16 ||
         prepare(
             head_inputs_,
             {.x = merged_.as<float>(), .width = latent_dim, .x_stride = latent_dim, .rounding = op.rounding},
             num_queries, form_bit(op.kv_b->values[0], op.rounding));
}

// y[t, h] = heads[h] x[t, h]; y_stride floats from head to head.
void CudaBackend::multiply_heads(const std::vector<Weight>& heads, const Rows& rows, int64_t num_rows,
                                 float* y, int64_t y_stride, ActivationRounding rounding) {
  const auto num_heads = static_cast<int64_t>(heads.size());
  const WeightGroups* groups = groups_of(
      num_heads, [&](int64_t h) -> const Weight& { return heads[static_cast<size_t>(h)]; }, rounding);
  if (groups == nullptr) return;
  LinearBatchParams params = product(heads[0], rows, num_rows * num_heads, rounding);
  params.linear.y = y;
  params.linear.y_stride = y_stride;
  params.groups = groups->all;
  params.num_groups = num_heads;
  multiply(params);
}

}  // namespace fathom
