// Attention of the CPU backend: which thread computes which heads, splits and tokens.
#include <algorithm>

#include "base/checked_math.h"
#include "device/cpu_backend.h"

namespace fathom {
namespace {

// Absorbed rows are taken in groups whose partial results stay below this, unless one row has more.
constexpr int64_t kSplitBytes = int64_t{64} << 20;
// Heads that share one pass over the keys where rows and splits alone do not keep the team busy.
constexpr int64_t kHeadGroup = 16;
// Tokens of an expanded segment that share one expansion of the keys, at least, where heads alone do not keep
// the team busy: expanding costs as much as attending with about 400 tokens.
constexpr int64_t kTokenGroup = 512;

}  // namespace

void CpuBackend::plan_attention() {
  AttentionPlan& plan = attention_plan_;
  plan.absorbed_rows.clear();
  plan.absorbed_segments.clear();
  plan.expanded_segments.clear();
  for (int32_t b = 0; b < batch_.num_segments(); ++b) {
    const auto index = static_cast<size_t>(b);
    if (batch_.forms[index] == AttentionForm::kExpanded) {
      plan.expanded_segments.push_back(b);
      continue;
    }
    for (int32_t row = batch_.starts[index]; row < batch_.starts[index + 1]; ++row) {
      plan.absorbed_rows.push_back(row);
      plan.absorbed_segments.push_back(b);
    }
  }
}

kernels::AttentionPrecision CpuBackend::attention_precision(const AttendOp& op) const {
  const bool bf16_cache = op.cache.dtype == DType::kBFloat16 ||
                          (op.cache.dtype == DType::kInt8 && op.cache.rope_dtype == DType::kBFloat16);
  const bool bf16 = kernels_.has_bf16_products && op.rounding == ActivationRounding::kBFloat16 &&
                    op.kv_b->keys[0].format == kernels::PanelFormat::kBFloat16 && bf16_cache;
  return bf16 ? kernels::AttentionPrecision::kBFloat16 : kernels::AttentionPrecision::kFloat32;
}

void CpuBackend::attend(const AttendOp& op) {
  if (!attention_plan_.expanded_segments.empty()) {
    team_.run([&](int thread) { attend_expanded(op, thread); });
  }
  const auto num_rows = static_cast<int64_t>(attention_plan_.absorbed_rows.size());
  const int64_t split_bytes = op.num_heads * op.cache.latent_dim * static_cast<int64_t>(sizeof(float));
  for (int64_t begin = 0; begin < num_rows;) {
    int64_t num_splits = 0;
    int64_t end = begin;
    do {
      num_splits += row_splits(end++);
    } while (end < num_rows && (num_splits + row_splits(end)) * split_bytes <= kSplitBytes);
    attend_absorbed(op, {begin, end});
    begin = end;
  }
}

int64_t CpuBackend::row_splits(int64_t plan_index) const {
  const int32_t row = attention_plan_.absorbed_rows[static_cast<size_t>(plan_index)];
  return ceil_div(batch_.positions[static_cast<size_t>(row)] + 1, kernels::kKeySplit);
}

// Queries are folded into latent space head by head, attend to the latents in splits, and the merged results
// come out through the value rows.
void CpuBackend::attend_absorbed(const AttendOp& op, IndexRange plan_rows) {
  AbsorbedPlan& work = absorbed_plan_;
  const int64_t num_rows = plan_rows.size();
  const int64_t width = op.cache.latent_dim + op.cache.rope_dim;
  work.first_row = plan_rows.begin;
  work.num_rows = num_rows;
  work.first_splits.assign(1, 0);
  for (int64_t i = 0; i < num_rows; ++i) {
    work.first_splits.push_back(work.first_splits.back() + row_splits(plan_rows.begin + i));
  }
  const auto num_splits = static_cast<size_t>(work.first_splits.back());
  const auto heads = static_cast<size_t>(op.num_heads);
  const auto latent_dim = static_cast<size_t>(op.cache.latent_dim);
  work.q.reserve(static_cast<size_t>(num_rows * width) * heads * sizeof(float));
  work.split_out.reserve(num_splits * heads * latent_dim * sizeof(float));
  work.split_max.reserve(num_splits * heads * sizeof(float));
  work.split_sum.reserve(num_splits * heads * sizeof(float));
  work.merged.reserve(static_cast<size_t>(num_rows) * heads * latent_dim * sizeof(float));
  head_inputs_.resize(num_rows * op.num_heads, op.nope_dim, {input_form(op.kv_b->absorb[0], op.rounding)});
  value_inputs_.resize(num_rows * op.num_heads, op.cache.latent_dim,
                       {input_form(op.kv_b->values[0], op.rounding)});
  team_.run([&](int thread) {
    prepare_queries(op, thread);
    team_.barrier();
    multiply_heads(op.kv_b->absorb, head_inputs_, op.rounding,
                   {.y = work.q.floats(), .y_stride = op.num_heads * width}, width, thread);
    team_.barrier();
    attend_splits(op, thread);
    team_.barrier();
    merge_rows(op, thread);
    team_.barrier();
    multiply_heads(op.kv_b->values, value_inputs_, op.rounding,
                   {.y = op.out,
                    .y_stride = op.num_heads * op.v_dim,
                    .y_rows = attention_plan_.absorbed_rows.data() + work.first_row},
                   op.v_dim, thread);
  });
}

// The nope parts become inputs of the fold, the rotated parts are copied beside its outputs.
void CpuBackend::prepare_queries(const AttendOp& op, int thread) {
  AbsorbedPlan& work = absorbed_plan_;
  const int64_t query_dim = op.nope_dim + op.cache.rope_dim;
  const int64_t width = op.cache.latent_dim + op.cache.rope_dim;
  const IndexRange items = static_share(work.num_rows * op.num_heads, 1, thread, team_.size());
  for (int64_t item = items.begin; item < items.end;) {
    const int64_t i = item / op.num_heads;
    const int64_t end = std::min(items.end, (i + 1) * op.num_heads);
    const int64_t row = attention_plan_.absorbed_rows[static_cast<size_t>(work.first_row + i)];
    const float* q = op.q + row * op.num_heads * query_dim;
    kernels::PrepareParams params = prepare_params(head_inputs_, q, op.nope_dim, {}, op.rounding);
    head_inputs_.set_destinations(params, i * op.num_heads);
    params.x_stride = query_dim;
    params.begin = item - i * op.num_heads;
    params.end = end - i * op.num_heads;
    kernels_.prepare(params);
    for (; item < end; ++item) {
      const float* rope = q + (item - i * op.num_heads) * query_dim + op.nope_dim;
      std::copy(rope, rope + op.cache.rope_dim, work.q.floats() + item * width + op.cache.latent_dim);
    }
  }
}

// y[row, h] = heads[h] x[row, h] for the rows of the absorbed plan; head h's outputs lie y_step floats after
// those of h - 1.
void CpuBackend::multiply_heads(const std::vector<Weight>& heads, const InputRows& rows,
                                ActivationRounding rounding, const kernels::LinearParams& target,
                                int64_t y_step, int thread) {
  const NodeSeat& seat = seats_[static_cast<size_t>(thread)];
  const auto node = static_cast<size_t>(seat.node);
  const auto item_of = [node](const Weight& head) {
    return WorkItem{head.parts[node].end - head.parts[node].begin, 1};
  };
  for_share_of_line(heads, item_of, seat.index, seat.num_threads, [&](size_t h, int64_t first, int64_t end) {
    const Weight& weight = heads[h];
    kernels::LinearParams params = linear_params(weight, thread);
    const InputForm form = input_form(weight, rounding);
    rows.set_inputs(params, form, static_cast<int64_t>(h));
    params.x_stride *= static_cast<int64_t>(heads.size());
    params.y = target.y + static_cast<int64_t>(h) * y_step;
    params.y_stride = target.y_stride;
    params.y_rows = target.y_rows;
    params.num_tokens = absorbed_plan_.num_rows;
    params.begin = weight.parts[node].begin + first;
    params.end = weight.parts[node].begin + end;
    kernels_.linear(form, weight.format)(params);
  });
}

void CpuBackend::attend_splits(const AttendOp& op, int thread) {
  AbsorbedPlan& work = absorbed_plan_;
  const int64_t width = op.cache.latent_dim + op.cache.rope_dim;
  const int64_t num_splits = work.first_splits.back();
  // All heads in one pass read the keys once; the cut changes no head's result.
  const int64_t group = num_splits >= 2 * team_.size() ? op.num_heads : std::min(op.num_heads, kHeadGroup);
  const int64_t num_groups = ceil_div(op.num_heads, group);
  AlignedBuffer& scratch = thread_scratch_[static_cast<size_t>(thread)];
  scratch.reserve(
      static_cast<size_t>(kernels::absorbed_scratch_bytes(group, op.cache.latent_dim, op.cache.rope_dim)));
  const IndexRange items = static_share(num_splits * num_groups, 1, thread, team_.size());
  for (int64_t item = items.begin; item < items.end; ++item) {
    const int64_t split = item / num_groups;
    const int64_t first_head = item % num_groups * group;
    const auto next = std::upper_bound(work.first_splits.begin(), work.first_splits.end(), split);
    const int64_t i = next - work.first_splits.begin() - 1;
    const auto plan_index = static_cast<size_t>(work.first_row + i);
    const auto row = static_cast<size_t>(attention_plan_.absorbed_rows[plan_index]);
    const int64_t key_begin = (split - work.first_splits[static_cast<size_t>(i)]) * kernels::kKeySplit;
    const int64_t first = split * op.num_heads + first_head;
    kernels_.absorbed_attention(
        {.q = work.q.floats() + (i * op.num_heads + first_head) * width,
         .page_table = page_table(attention_plan_.absorbed_segments[plan_index]),
         .out = work.split_out.floats() + first * op.cache.latent_dim,
         .max = work.split_max.floats() + first,
         .sum = work.split_sum.floats() + first,
         .scratch = scratch.data(),
         .cache = op.cache,
         .q_stride = width,
         .num_heads = std::min(group, op.num_heads - first_head),
         .key_begin = key_begin,
         .key_end = std::min<int64_t>(batch_.positions[row] + 1, key_begin + kernels::kKeySplit),
         .scale = op.scale,
         .precision = attention_precision(op)});
  }
}

// Each thread prepares what it has merged.
void CpuBackend::merge_rows(const AttendOp& op, int thread) {
  AbsorbedPlan& work = absorbed_plan_;
  const int64_t latent_dim = op.cache.latent_dim;
  const IndexRange items = static_share(work.num_rows * op.num_heads, 1, thread, team_.size());
  for (int64_t item = items.begin; item < items.end;) {
    const int64_t i = item / op.num_heads;
    const int64_t end = std::min(items.end, (i + 1) * op.num_heads);
    const int64_t split = work.first_splits[static_cast<size_t>(i)];
    kernels_.merge_splits({.out = work.split_out.floats() + split * op.num_heads * latent_dim,
                           .max = work.split_max.floats() + split * op.num_heads,
                           .sum = work.split_sum.floats() + split * op.num_heads,
                           .y = work.merged.floats() + i * op.num_heads * latent_dim,
                           .split_stride = op.num_heads * latent_dim,
                           .num_splits = work.first_splits[static_cast<size_t>(i) + 1] - split,
                           .num_heads = op.num_heads,
                           .latent_dim = latent_dim,
                           .begin = item - i * op.num_heads,
                           .end = end - i * op.num_heads});
    item = end;
  }
  kernels::PrepareParams params =
      prepare_params(value_inputs_, work.merged.floats(), latent_dim, {}, op.rounding);
  params.begin = items.begin;
  params.end = items.end;
  kernels_.prepare(params);
}

// Items (segment, head, group of tokens) of this node's heads; an item costs its keys times its tokens.
void CpuBackend::attend_expanded(const AttendOp& op, int thread) {
  const NodeSeat& seat = seats_[static_cast<size_t>(thread)];
  std::vector<ExpandedItem>& items = expanded_items_[static_cast<size_t>(thread)];
  items.clear();
  const int64_t first_head = ceil_div(seat.node * op.num_heads, team_.num_nodes());
  const int64_t end_head = ceil_div((seat.node + 1) * op.num_heads, team_.num_nodes());
  const auto num_segments = static_cast<int64_t>(attention_plan_.expanded_segments.size());
  const int64_t groups_wanted =
      ceil_div(2 * seat.num_threads, std::max<int64_t>(1, (end_head - first_head) * num_segments));
  for (int32_t segment : attention_plan_.expanded_segments) {
    const auto b = static_cast<size_t>(segment);
    const int64_t num_tokens = batch_.starts[b + 1] - batch_.starts[b];
    const int64_t group = std::max(kTokenGroup, ceil_div(num_tokens, groups_wanted));
    for (int64_t head = first_head; head < end_head; ++head) {
      for (int64_t begin = 0; begin < num_tokens; begin += group) {
        items.push_back({segment, head, {begin, std::min(num_tokens, begin + group)}});
      }
    }
  }
  const auto item_of = [this](const ExpandedItem& item) {
    const int64_t row = batch_.starts[static_cast<size_t>(item.segment)] + item.tokens.begin;
    return WorkItem{
        1, item.tokens.size() * (batch_.positions[static_cast<size_t>(row)] + item.tokens.size() / 2 + 1)};
  };
  for_share_of_line(items, item_of, seat.index, seat.num_threads,
                    [&](size_t i, int64_t, int64_t) { attend_item(op, items[i], thread); });
}

void CpuBackend::attend_item(const AttendOp& op, const ExpandedItem& item, int thread) {
  const int64_t row = batch_.starts[static_cast<size_t>(item.segment)] + item.tokens.begin;
  const int64_t query_dim = op.nope_dim + op.cache.rope_dim;
  const auto head = static_cast<size_t>(item.head);
  const Weight& keys = op.kv_b->keys[head];
  const Weight& values = op.kv_b->values[head];
  const auto node = static_cast<size_t>(seats_[static_cast<size_t>(thread)].node);
  AlignedBuffer& scratch = thread_scratch_[static_cast<size_t>(thread)];
  scratch.reserve(static_cast<size_t>(kernels::expanded_scratch_bytes(
      item.tokens.size(), op.cache.latent_dim, op.cache.rope_dim, op.nope_dim, op.v_dim)));
  kernels_.expanded_attention({.q = op.q + (row * op.num_heads + item.head) * query_dim,
                               .key_panels = keys.parts[node].panels,
                               .value_panels = values.parts[node].panels,
                               .page_table = page_table(item.segment),
                               .out = op.out + (row * op.num_heads + item.head) * op.v_dim,
                               .scratch = scratch.data(),
                               .cache = op.cache,
                               .q_stride = op.num_heads * query_dim,
                               .out_stride = op.num_heads * op.v_dim,
                               .num_tokens = item.tokens.size(),
                               .first_position = batch_.positions[static_cast<size_t>(row)],
                               .nope_dim = op.nope_dim,
                               .v_dim = op.v_dim,
                               .scale = op.scale,
                               .kv_b_format = keys.format,
                               .precision = attention_precision(op)});
}

}  // namespace fathom
