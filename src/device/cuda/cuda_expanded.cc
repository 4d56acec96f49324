// Expanded attention of the CUDA backend: the latents of a pass's sequences become keys and values of some
// heads at a time, in memory of bounded size, which the segments' rows then attend to. A head's numbers do
// not depend on which others are computed with it.
//
// Per key and layer, expanding costs 2 R H (n + v) operations, attending with T rows 2 T H (n + r + v): for
// R 512, n and v 128, r 64 as much as 410 rows. So of a chunk of 2048 rows behind a long prefix it is a
// sixth.
#include <algorithm>

#include "device/cuda/cuda_backend.h"

namespace fathom {

using kernels::cuda::ExpandedPass;
using kernels::cuda::KeyTile;
using kernels::cuda::QueryTile;

void CudaBackend::plan_expanded() {
  std::vector<kernels::cuda::ExpandedSegment> segments;
  for (size_t b = 0; b < batch_.forms.size(); ++b) {
    if (batch_.forms[b] != AttentionForm::kExpanded) continue;
    const int32_t first_row = batch_.starts[b];
    segments.push_back({first_row, batch_.starts[b + 1] - first_row,
                        batch_.positions[static_cast<size_t>(first_row)], batch_.page_table_starts[b]});
  }
  expanded_plan_ = kernels::cuda::plan_expanded(segments);
}

// 16 bits wide where weights, activations and cache are of that type, for tensor cores.
DType CudaBackend::expanded_dtype(const AttendOp& op) {
  const Form form = form_of(op.kv_b->keys[0], op.rounding);
  const DType cached = op.cache.dtype == DType::kInt8 ? op.cache.rope_dtype : op.cache.dtype;
  const DType dtype = form == Form::kBFloat16  ? DType::kBFloat16
                      : form == Form::kFloat16 ? DType::kFloat16
                                               : DType::kFloat32;
  return cached == dtype ? dtype : DType::kFloat32;
}

void CudaBackend::attend_expanded(const AttendOp& op) {
  const DType dtype = expanded_dtype(op);
  const int64_t head_bytes =
      kernels::cuda::expanded_width(op.nope_dim, op.v_dim) * static_cast<int64_t>(dtype_bytes(dtype));
  for (const ExpandedPass& pass : expanded_plan_.passes) {
    if (!gather_latents(op, dtype, pass)) return;
    const int64_t together = kernels::cuda::heads_together(pass.num_keys, head_bytes, op.num_heads);
    for (int64_t head = 0; head < op.num_heads; head += together) {
      const int64_t count = std::min(together, op.num_heads - head);
      if (!reserve(expanded_, pass.num_keys * count * head_bytes)) return;
      expand_heads(op, dtype, pass, head, count);
      attend_heads(op, dtype, pass, head, count);
    }
  }
}

// latents_ [keys, padded R], rope_ [keys, padded r]
bool CudaBackend::gather_latents(const AttendOp& op, DType dtype, const ExpandedPass& pass) {
  const auto bytes = static_cast<int64_t>(dtype_bytes(dtype));
  const Form form = dtype == DType::kBFloat16  ? Form::kBFloat16
                    : dtype == DType::kFloat16 ? Form::kFloat16
                                               : Form::kFloat32;
  const auto index = static_cast<size_t>(form);
  const int64_t rope_stride = kernels::cuda::padded_part(op.cache.rope_dim);
  latents_.padded = padded_row(op.cache.latent_dim);
  if (!reserve(latents_.values[index], pass.num_keys * latents_.padded * bytes) ||
      !reserve(latents_.scales[index], pass.num_keys * static_cast<int64_t>(sizeof(float))) ||
      !reserve(rope_, pass.num_keys * rope_stride * bytes))
    return false;
  return launched(device_.kernels.gather_latents({.cache = op.cache,
                                                  .page_tables = arrays_.page_tables,
                                                  .tiles = arrays_.key_tiles + pass.key_tiles_begin,
                                                  .latents = latents_.values[index].buffer.data(),
                                                  .scales = latents_.scales[index].buffer.floats(),
                                                  .rope = rope_.buffer.data(),
                                                  .latent_stride = latents_.padded,
                                                  .rope_stride = rope_stride,
                                                  .num_tiles = pass.key_tiles_end - pass.key_tiles_begin,
                                                  .dtype = dtype},
                                                 device_.stream),
                  "gather_latents");
}

// expanded_ [keys, count, padded n + padded v] of heads [first, first + count), whose panels are contiguous.
void CudaBackend::expand_heads(const AttendOp& op, DType dtype, const ExpandedPass& pass, int64_t first,
                               int64_t count) {
  Weight heads = op.kv_b->keys[static_cast<size_t>(first)];
  heads.rows = count * kernels::cuda::expanded_width(op.nope_dim, op.v_dim);
  heads.num_panels = kernels::num_panels(heads.rows);
  const ActivationRounding rounding = dtype == DType::kFloat32 ? ActivationRounding::kNone : op.rounding;
  kernels::cuda::LinearBatchParams params = product(heads, latents_, pass.num_keys, rounding);
  params.linear.y = expanded_.as<float>();
  params.bfloat16_scales = dtype == DType::kBFloat16;
  params.y_dtype = dtype;
  multiply(params);
}

void CudaBackend::attend_heads(const AttendOp& op, DType dtype, const ExpandedPass& pass, int64_t first,
                               int64_t count) {
  if (!failure_.ok()) return;
  launched(device_.kernels.expanded_attention({.q = op.q,
                                               .expanded = expanded_.buffer.data(),
                                               .rope = rope_.buffer.data(),
                                               .tiles = arrays_.query_tiles + pass.query_tiles_begin,
                                               .out = op.out,
                                               .num_tiles = pass.query_tiles_end - pass.query_tiles_begin,
                                               .first_head = first,
                                               .num_heads = count,
                                               .all_heads = op.num_heads,
                                               .nope_dim = op.nope_dim,
                                               .rope_dim = op.cache.rope_dim,
                                               .v_dim = op.v_dim,
                                               .scale = op.scale,
                                               .dtype = dtype},
                                              device_.stream),
           "expanded_attention");
}

}  // namespace fathom
