// Dense, routed and shared networks of the CUDA backend. Pairs of tokens and experts are sorted by expert on
// the device; the experts of one form are groups of one launch.
#include "device/cuda/cuda_backend.h"

namespace fathom {
namespace {

using kernels::cuda::LinearBatchParams;
using Output = kernels::LinearParams::Output;

constexpr int64_t kElementBytes = 4;  // float32 and int32
constexpr unsigned kEveryForm = ~0u;

kernels::PrepareParams normed_rows(const float* x, int64_t width, const Norm& norm,
                                   ActivationRounding rounding) {
  return {.x = x,
          .norm_weight = norm.weight != nullptr ? norm.weight->data : nullptr,
          .width = width,
          .x_stride = width,
          .eps = norm.eps,
          .rounding = rounding};
}

}  // namespace

void CudaBackend::mlp(const MlpOp& op) {
  const Weight& gate_up = op.weights->gate_up;
  if (!prepare(inputs_, normed_rows(op.x, gate_up.cols, op.norm, op.rounding), op.num_tokens,
               form_bit(gate_up, op.rounding)))
    return;
  run_mlp(*op.weights, op.num_tokens, op.residual, op.rounding);
}

void CudaBackend::run_mlp(const MlpWeights& weights, int64_t num_tokens, float* residual,
                          ActivationRounding rounding) {
  const int64_t width = weights.down.cols;
  if (!reserve(hidden_, num_tokens * width * kElementBytes)) return;
  LinearBatchParams params = product(weights.gate_up, inputs_, num_tokens, rounding);
  params.linear.y = hidden_.as<float>();
  params.linear.output = Output::kSiluMul;
  multiply(params);
  // Rounded by the product already.
  if (!prepare(hidden_inputs_, normed_rows(hidden_.as<float>(), width, {}, ActivationRounding::kNone),
               num_tokens, form_bit(weights.down, rounding)))
    return;
  params = product(weights.down, hidden_inputs_, num_tokens, rounding);
  params.linear.y = residual;
  params.linear.output = Output::kAdd;
  multiply(params);
}

void CudaBackend::moe(const MoeOp& op) {
  unsigned forms = form_bit(*op.routing.router, op.rounding);
  for (const MlpWeights& expert : op.experts)
    if (expert.present()) forms |= form_bit(expert.gate_up, op.rounding);
  if (op.shared != nullptr) forms |= form_bit(op.shared->gate_up, op.rounding);
  if (!prepare(inputs_, normed_rows(op.x, op.routing.router->cols, op.norm, op.rounding), op.num_tokens,
               forms))
    return;
  route(op);
  run_experts(op);
  if (op.shared != nullptr) run_mlp(*op.shared, op.num_tokens, op.residual, op.rounding);
}

void CudaBackend::route(const MoeOp& op) {
  const Routing& routing = op.routing;
  const int64_t num_experts = routing.router->rows;
  const int64_t pair_bytes = op.num_tokens * routing.experts_per_token * kElementBytes;
  if (!reserve(router_logits_, op.num_tokens * num_experts * kElementBytes) ||
      !reserve(expert_ids_, pair_bytes) || !reserve(expert_weights_, pair_bytes) ||
      !reserve(tokens_, pair_bytes) || !reserve(places_, pair_bytes) ||
      !reserve(offsets_, (num_experts + 1) * kElementBytes))
    return;
  LinearBatchParams params = product(*routing.router, inputs_, op.num_tokens, op.rounding);
  params.linear.y = router_logits_.as<float>();
  multiply(params);
  launched(device_.kernels.router({.logits = router_logits_.as<float>(),
                                   .expert_ids = expert_ids_.as<int32_t>(),
                                   .expert_weights = expert_weights_.as<float>(),
                                   .num_experts = num_experts,
                                   .experts_per_token = routing.experts_per_token,
                                   .n_group = routing.n_group,
                                   .topk_group = routing.topk_group,
                                   .scaling = routing.scaling,
                                   .weights = routing.weights,
                                   .end = op.num_tokens},
                                  device_.stream),
           "router");
  launched(device_.kernels.plan_experts({.expert_ids = expert_ids_.as<int32_t>(),
                                         .offsets = offsets_.as<int32_t>(),
                                         .tokens = tokens_.as<int32_t>(),
                                         .places = places_.as<int32_t>(),
                                         .num_tokens = op.num_tokens,
                                         .experts_per_token = routing.experts_per_token,
                                         .num_experts = num_experts},
                                        device_.stream),
           "plan_experts");
}

// The product of each expert's rows with its weight, once for each form that some of the weights take.
void CudaBackend::multiply_experts(std::span<const Weight* const> weights, LinearBatchParams target,
                                   const Rows& rows, const MoeOp& op) {
  unsigned done = 0;
  for (const Weight* weight : weights) {
    if (!weight->present() || (done & form_bit(*weight, op.rounding)) != 0) continue;
    const unsigned form = form_bit(*weight, op.rounding);
    done |= form;
    LinearBatchParams params =
        product(*weight, rows, op.num_tokens * op.routing.experts_per_token, op.rounding);
    params.linear.y = target.linear.y;
    params.linear.output = target.linear.output;
    params.x_rows = target.x_rows;
    params.groups = groups_of(weights, op.rounding, form);
    params.offsets = offsets_.as<int32_t>();
    params.num_groups = static_cast<int64_t>(weights.size());
    params.max_group_tokens = op.num_tokens;
    multiply(params);
  }
}

void CudaBackend::run_experts(const MoeOp& op) {
  const int64_t num_pairs = op.num_tokens * op.routing.experts_per_token;
  const int64_t hidden_size = op.routing.router->cols;
  std::vector<const Weight*> gate_up, down;
  int64_t width = 0;
  unsigned down_forms = 0;
  for (const MlpWeights& expert : op.experts) {
    gate_up.push_back(&expert.gate_up);
    down.push_back(&expert.down);
    if (!expert.present()) continue;
    width = expert.down.cols;
    down_forms |= form_bit(expert.down, op.rounding);
  }
  if (!reserve(hidden_, num_pairs * width * kElementBytes) ||
      !reserve(expert_outputs_, num_pairs * hidden_size * kElementBytes))
    return;
  multiply_experts(
      gate_up,
      {.linear = {.y = hidden_.as<float>(), .output = Output::kSiluMul}, .x_rows = tokens_.as<int32_t>()},
      inputs_, op);
  if (!prepare(hidden_inputs_, normed_rows(hidden_.as<float>(), width, {}, ActivationRounding::kNone),
               num_pairs, down_forms))
    return;
  multiply_experts(down, {.linear = {.y = expert_outputs_.as<float>()}}, hidden_inputs_, op);
  const auto* groups = groups_of(down, op.rounding, kEveryForm);
  if (groups == nullptr) return;
  launched(device_.kernels.combine_experts({.outputs = expert_outputs_.as<float>(),
                                            .expert_ids = expert_ids_.as<int32_t>(),
                                            .expert_weights = expert_weights_.as<float>(),
                                            .places = places_.as<int32_t>(),
                                            .groups = groups,
                                            .y = op.residual,
                                            .num_tokens = op.num_tokens,
                                            .experts_per_token = op.routing.experts_per_token,
                                            .width = hidden_size},
                                           device_.stream),
           "combine_experts");
}

}  // namespace fathom
