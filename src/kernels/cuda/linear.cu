// y = x w^T over packed panels (kernels/packed.h): which cut a launch takes. No speed has been measured:
// docs/cuda.md.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/linear_work.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

// Whether the tensor cores take these inputs and weights.
bool has_products(const cuda::LinearBatchParams& batch) {
  return is_integer(batch.linear.format) || batch.float16_inputs || batch.linear.form == InputForm::kBFloat16;
}

}  // namespace

Launched describe_launch(const cuda::LinearBatchParams& batch) {
  const LinearParams& p = batch.linear;
  const bool is_exact = is_integer(p.format);
  const int64_t element_bytes = batch.float16_inputs ? 2 : input_bytes(p.form);
  // A row of inputs of int4 weights may end before the last superblock does.
  const PanelFormat row_format = is_exact ? PanelFormat::kInt8 : p.format;
  Launched launched{};
  launched.batch = batch;
  launched.panel_words = static_cast<int>(panel_bytes(p.num_inputs, p.format) / 4);
  launched.row_words = p.x_stride * element_bytes / 4;
  launched.input_words = static_cast<int>(panel_bytes(p.num_inputs, row_format) / kLineBytes);
  launched.num_steps =
      static_cast<int>(padded_inputs(p.num_inputs, p.format) / line_inputs(row_format) / cuda::kStepWords);
  launched.blocks_of_item = 1;
  launched.item_tokens = static_cast<int>(max_item_tokens(batch));
  launched.rows_per_token = is_exact ? static_cast<int>(rows_per_token(p.form)) : 1;
  launched.has_x_scales = is_exact || batch.float16_inputs || batch.bfloat16_scales;
  launched.has_weight_scales = is_exact;
  return launched;
}

cuda::LinearSizes linear_sizes(const Launched& launched) {
  const LinearParams& p = launched.batch.linear;
  const int64_t stage_bytes = p.format == PanelFormat::kInt4
                                  ? kSuperblockBytes + kLineBytes
                                  : cuda::kStageSteps * cuda::kStepWords * kLineBytes;
  return {.max_rows = int64_t{launched.item_tokens} * launched.rows_per_token,
          .num_items = num_items(launched.batch),
          .num_panels = p.end - p.begin,
          .num_steps = launched.num_steps,
          .panels_per_output = p.output == LinearParams::Output::kSiluMul ? 2 : 1,
          .panel_stage_bytes = static_cast<int>(stage_bytes),
          .exact_sums = is_integer(p.format)};
}

int linear(const cuda::LinearBatchParams& batch, void* stream) {
  const Launched launched = describe_launch(batch);
  if (launched.item_tokens == 0) return 0;
  if (!has_products(batch)) return launch_scalar(launched, stream);
  const cuda::LinearPlan plan = cuda::plan_linear(linear_sizes(launched), kMaxSharedBytes);
  return plan.cut == cuda::LinearCut::kStream ? launch_stream(launched, plan.stream, stream)
                                              : launch_tile(launched, plan.tile, stream);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
