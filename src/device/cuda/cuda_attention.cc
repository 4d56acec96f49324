// Absorbed attention of the CUDA backend: queries are folded into latent space, attend in splits, and the
// merged results come out through the value rows. Products per head are groups of one launch.
#include <algorithm>

#include "base/checked_math.h"
#include "device/cuda/cuda_backend.h"
#include "kernels/cuda/split_plan.h"

namespace fathom {
namespace {

using kernels::cuda::LinearBatchParams;

// Rows are taken in groups whose partial results stay below this, unless one row has more.
constexpr int64_t kPartialBytes = int64_t{256} << 20;
constexpr int64_t kFloat = sizeof(float);

}  // namespace

int64_t CudaBackend::row_splits(int64_t row) const {
  return ceil_div(batch_.positions[static_cast<size_t>(row)] + 1, kernels::kKeySplit);
}

void CudaBackend::attend(const AttendOp& op) {
  if (!launches()) return;
  attend_expanded(op);
  const auto is_expanded = [&](size_t b) { return batch_.forms[b] == AttentionForm::kExpanded; };
  for (size_t b = 0; b < batch_.forms.size();) {
    const size_t first = b;
    while (b < batch_.forms.size() && !is_expanded(b)) ++b;
    attend_absorbed(op, batch_.starts[first], batch_.starts[b]);
    while (b < batch_.forms.size() && is_expanded(b)) ++b;
  }
}

void CudaBackend::attend_absorbed(const AttendOp& op, int64_t begin, int64_t last) {
  const int64_t split_bytes = op.num_heads * op.cache.latent_dim * kFloat;
  while (begin < last) {
    int64_t num_splits = 0;
    int64_t end = begin;
    do {
      num_splits += row_splits(end++);
    } while (end < last && (num_splits + row_splits(end)) * split_bytes <= kPartialBytes);
    attend_rows(op, begin, end);
    begin = end;
  }
}

void CudaBackend::attend_rows(const AttendOp& op, int64_t begin, int64_t end) {
  const int64_t num_rows = end - begin;
  const int64_t latent_dim = op.cache.latent_dim;
  const float* q = op.q + begin * op.num_heads * (op.nope_dim + op.cache.rope_dim);
  if (!fold_queries(op, q, num_rows) || !attend_splits(op, begin, end)) return;
  if (!prepare(
          head_inputs_,
          {.x = merged_.as<float>(), .width = latent_dim, .x_stride = latent_dim, .rounding = op.rounding},
          num_rows * op.num_heads, form_bit(op.kv_b->values[0], op.rounding)))
    return;
  multiply_heads(op.kv_b->values, head_inputs_, num_rows, op.out + begin * op.num_heads * op.v_dim, op.v_dim,
                 op.rounding);
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
  return launched(device_.kernels.gather_rows({.from = q + op.nope_dim,
                                               .to = folded_.as<float>() + op.cache.latent_dim,
                                               .from_stride = query_dim,
                                               .to_stride = width,
                                               .num_rows = num_queries,
                                               .width = op.cache.rope_dim},
                                              device_.stream),
                  "gather_rows");
}

// merged_ [rows, H, R]
bool CudaBackend::attend_splits(const AttendOp& op, int64_t begin, int64_t end) {
  std::vector<kernels::cuda::SplitRow> rows;
  for (int64_t row = begin; row < end; ++row) {
    const auto index = static_cast<size_t>(row);
    rows.push_back({static_cast<int32_t>(row - begin),
                    batch_.page_table_starts[static_cast<size_t>(row_segments_[index])],
                    batch_.positions[index]});
  }
  const kernels::cuda::SplitPlan plan = kernels::cuda::plan_splits(rows);
  const auto num_items = static_cast<int64_t>(plan.items.size());
  const int64_t heads = num_items * op.num_heads;
  if (!put(split_items_, plan.items.data(), num_items * static_cast<int64_t>(sizeof(plan.items[0]))) ||
      !put(first_splits_, plan.first_splits.data(),
           (end - begin + 1) * static_cast<int64_t>(sizeof(int32_t))) ||
      !reserve(split_out_, heads * op.cache.latent_dim * kFloat) || !reserve(split_max_, heads * kFloat) ||
      !reserve(split_sum_, heads * kFloat) ||
      !reserve(merged_, (end - begin) * op.num_heads * op.cache.latent_dim * kFloat))
    return false;
  launched(device_.kernels.absorbed_attention({.q = folded_.as<float>(),
                                               .page_tables = arrays_.page_tables,
                                               .items = split_items_.as<kernels::cuda::SplitItem>(),
                                               .out = split_out_.as<float>(),
                                               .max = split_max_.as<float>(),
                                               .sum = split_sum_.as<float>(),
                                               .cache = op.cache,
                                               .num_items = num_items,
                                               .num_heads = op.num_heads,
                                               .scale = op.scale},
                                              device_.stream),
           "absorbed_attention");
  return launched(device_.kernels.merge_splits({.out = split_out_.as<float>(),
                                                .max = split_max_.as<float>(),
                                                .sum = split_sum_.as<float>(),
                                                .first_splits = first_splits_.as<int32_t>(),
                                                .y = merged_.as<float>(),
                                                .num_rows = end - begin,
                                                .num_heads = op.num_heads,
                                                .latent_dim = op.cache.latent_dim},
                                               device_.stream),
                  "merge_splits");
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
