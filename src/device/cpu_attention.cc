// Attention of the CPU backend: which thread computes which heads of which tokens.
#include "device/cpu_backend.h"

namespace fathom {

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

void CpuBackend::attend(const AttendOp& op) {
  const auto num_rows = static_cast<int64_t>(attention_plan_.absorbed_rows.size());
  const auto num_expanded = static_cast<int64_t>(attention_plan_.expanded_segments.size());
  team_.run([&](int thread) {
    const IndexRange absorbed = static_share(num_rows * op.num_heads, 1, thread, team_.size());
    for (int64_t item = absorbed.begin; item < absorbed.end;) {
      const int64_t row = item / op.num_heads;
      const int64_t next = std::min(absorbed.end, (row + 1) * op.num_heads);
      attend_absorbed(op, row, {item - row * op.num_heads, next - row * op.num_heads}, thread);
      item = next;
    }
    const IndexRange expanded = static_share(num_expanded * op.num_heads, 1, thread, team_.size());
    for (int64_t item = expanded.begin; item < expanded.end; ++item) {
      const int32_t segment = attention_plan_.expanded_segments[static_cast<size_t>(item / op.num_heads)];
      attend_expanded(op, segment, item % op.num_heads, thread);
    }
    team_.barrier();
    const int64_t num_outputs = batch_.num_tokens() * op.num_heads * op.v_dim;
    const IndexRange outputs = static_share(num_outputs, 16, thread, team_.size());
    kernels_.round({.x = op.out, .begin = outputs.begin, .end = outputs.end, .rounding = op.rounding});
  });
}

// The query's nope part goes through the transposed key rows of kv_b into latent space, the attended latent
// through the value rows out of it.
void CpuBackend::attend_absorbed(const AttendOp& op, int64_t plan_index, IndexRange heads, int thread) {
  const int64_t row = attention_plan_.absorbed_rows[static_cast<size_t>(plan_index)];
  const int32_t segment = attention_plan_.absorbed_segments[static_cast<size_t>(plan_index)];
  const int64_t latent_dim = op.cache.latent_dim;
  const int64_t query_dim = op.nope_dim + op.cache.rope_dim;
  const int64_t latents = op.num_heads * latent_dim;
  const int64_t attention_floats =
      kernels::absorbed_scratch_floats(op.num_heads, latent_dim, op.cache.rope_dim);
  float* q_latent = scratch(kThreadScratch + static_cast<size_t>(thread), 2 * latents + attention_floats);
  float* attended = q_latent + latents;
  const float* q = op.q + row * op.num_heads * query_dim;
  const int64_t head_rows = op.nope_dim + op.v_dim;
  const auto kv_b_row = [&](int64_t index) {
    return static_cast<const std::byte*>(op.kv_b->data) +
           index * latent_dim * static_cast<int64_t>(dtype_bytes(op.kv_b->dtype));
  };
  for (int64_t h = heads.begin; h < heads.end; ++h) {
    kernels_.transposed_linear({.x = q + h * query_dim,
                                .weight = kv_b_row(h * head_rows),
                                .y = q_latent + h * latent_dim,
                                .num_inputs = op.nope_dim,
                                .num_outputs = latent_dim,
                                .weight_dtype = op.kv_b->dtype});
  }
  kernels_.absorbed_attention({.q_latent = q_latent,
                               .q_rope = q + op.nope_dim,
                               .page_table = page_table(segment),
                               .out = attended,
                               .scratch = attended + latents,
                               .cache = op.cache,
                               .q_rope_stride = query_dim,
                               .num_keys = batch_.positions[static_cast<size_t>(row)] + 1,
                               .scale = op.scale,
                               .begin = heads.begin,
                               .end = heads.end});
  for (int64_t h = heads.begin; h < heads.end; ++h) {
    kernels_.linear({.x = attended + h * latent_dim,
                     .weight = kv_b_row(h * head_rows + op.nope_dim),
                     .y = op.out + (row * op.num_heads + h) * op.v_dim,
                     .num_tokens = 1,
                     .num_inputs = latent_dim,
                     .x_stride = latent_dim,
                     .y_stride = op.v_dim,
                     .begin = 0,
                     .end = op.v_dim,
                     .weight_dtype = op.kv_b->dtype});
  }
}

void CpuBackend::attend_expanded(const AttendOp& op, int32_t segment, int64_t head, int thread) {
  const int64_t first_row = batch_.starts[static_cast<size_t>(segment)];
  const int64_t num_tokens = batch_.starts[static_cast<size_t>(segment) + 1] - first_row;
  const int64_t query_dim = op.nope_dim + op.cache.rope_dim;
  const int64_t head_elements = (op.nope_dim + op.v_dim) * op.cache.latent_dim;
  const int64_t floats = kernels::expanded_scratch_floats(num_tokens, op.cache.latent_dim, op.cache.rope_dim,
                                                          op.nope_dim, op.v_dim);
  kernels_.expanded_attention(
      {.q = op.q + (first_row * op.num_heads + head) * query_dim,
       .kv_b = static_cast<const std::byte*>(op.kv_b->data) +
               head * head_elements * static_cast<int64_t>(dtype_bytes(op.kv_b->dtype)),
       .page_table = page_table(segment),
       .out = op.out + (first_row * op.num_heads + head) * op.v_dim,
       .scratch = scratch(kThreadScratch + static_cast<size_t>(thread), floats),
       .cache = op.cache,
       .q_stride = op.num_heads * query_dim,
       .out_stride = op.num_heads * op.v_dim,
       .num_tokens = num_tokens,
       .first_position = batch_.positions[static_cast<size_t>(first_row)],
       .nope_dim = op.nope_dim,
       .v_dim = op.v_dim,
       .scale = op.scale,
       .kv_b_dtype = op.kv_b->dtype});
}

}  // namespace fathom
