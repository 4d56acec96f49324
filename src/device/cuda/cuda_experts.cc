// Dense, routed and shared networks of the CUDA backend. Pairs of tokens and experts are sorted by expert on
// the device; the experts of one form are groups of one launch.
#include "device/cuda/cuda_backend.h"
#include "kernels/cuda/linear_plan.h"

namespace fathom {
namespace {

using kernels::cuda::LinearBatchParams;
using kernels::cuda::LinearTile;
using Output = kernels::LinearParams::Output;

constexpr int64_t kElementBytes = 4;  // float32 and int32

kernels::PrepareParams normed_rows(const float* x, int64_t width, const Norm& norm,
                                   ActivationRounding rounding) {
  return {.x = x,
          .norm_weight = norm.weight != nullptr ? norm.weight->data : nullptr,
          .width = width,
          .x_stride = width,
          .eps = norm.eps,
          .rounding = rounding};
}

auto gate_up_of(std::span<const MlpWeights> experts) {
  return [experts](int64_t e) -> const Weight& { return experts[static_cast<size_t>(e)].gate_up; };
}
auto down_of(std::span<const MlpWeights> experts) {
  return [experts](int64_t e) -> const Weight& { return experts[static_cast<size_t>(e)].down; };
}

int64_t num_pairs(const MoeOp& op) { return op.num_tokens * op.routing.experts_per_token; }
int64_t tile_tokens(const MoeOp& op) {
  return kernels::cuda::expert_tile_tokens(num_pairs(op), op.routing.router->rows);
}
int64_t num_tiles(const MoeOp& op) {
  return kernels::cuda::max_expert_tiles(num_pairs(op), op.routing.router->rows, tile_tokens(op));
}

}  // namespace

void CudaBackend::mlp(const MlpOp& op) {
  if (!launches()) return;
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
  if (!launches()) return;
  const auto num_experts = static_cast<int64_t>(op.experts.size());
  const WeightGroups* gate_up = groups_of(num_experts, gate_up_of(op.experts), op.rounding);
  if (gate_up == nullptr) return;
  unsigned forms = form_bit(*op.routing.router, op.rounding) | gate_up->forms;
  if (op.shared != nullptr) forms |= form_bit(op.shared->gate_up, op.rounding);
  if (!prepare(inputs_, normed_rows(op.x, op.routing.router->cols, op.norm, op.rounding), op.num_tokens,
               forms))
    return;
  route(op);
  run_experts(op, *gate_up);
  if (op.shared != nullptr) run_mlp(*op.shared, op.num_tokens, op.residual, op.rounding);
}

void CudaBackend::route(const MoeOp& op) {
  const Routing& routing = op.routing;
  const int64_t num_experts = routing.router->rows;
  const int64_t pair_bytes = num_pairs(op) * kElementBytes;
  if (!reserve(router_logits_, op.num_tokens * num_experts * kElementBytes) ||
      !reserve(expert_ids_, pair_bytes) || !reserve(expert_weights_, pair_bytes) ||
      !reserve(tokens_, pair_bytes) || !reserve(places_, pair_bytes) ||
      !reserve(tiles_, num_tiles(op) * static_cast<int64_t>(sizeof(LinearTile))))
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
                                         .tokens = tokens_.as<int32_t>(),
                                         .places = places_.as<int32_t>(),
                                         .tiles = tiles_.as<LinearTile>(),
                                         .num_tokens = op.num_tokens,
                                         .experts_per_token = routing.experts_per_token,
                                         .num_experts = num_experts,
                                         .num_tiles = num_tiles(op),
                                         .tile_tokens = tile_tokens(op)},
                                        device_.stream),
           "plan_experts");
}

// The product of each expert's rows with its weight, a launch for each form that some of the weights take.
void CudaBackend::multiply_experts(const WeightGroups& groups, WeightAt weight,
                                   const LinearBatchParams& target, const Rows& rows, const MoeOp& op) {
  for (const WeightGroups::OneForm& one : groups.by_form) {
    LinearBatchParams params = product(weight(one.example), rows, num_pairs(op), op.rounding);
    params.linear.y = target.linear.y;
    params.linear.output = target.linear.output;
    params.x_rows = target.x_rows;
    params.groups = one.groups;
    params.num_groups = op.routing.router->rows;
    params.tiles = tiles_.as<LinearTile>();
    params.num_tiles = num_tiles(op);
    params.tile_tokens = tile_tokens(op);
    multiply(params);
  }
}

void CudaBackend::run_experts(const MoeOp& op, const WeightGroups& gate_up) {
  const int64_t hidden_size = op.routing.router->cols;
  const auto down_at = down_of(op.experts);
  const WeightGroups* down = groups_of(op.routing.router->rows, down_at, op.rounding);
  if (down == nullptr) return;
  const int64_t width = down_at(down->by_form[0].example).cols;
  if (!reserve(hidden_, num_pairs(op) * width * kElementBytes) ||
      !reserve(expert_outputs_, num_pairs(op) * hidden_size * kElementBytes))
    return;
  multiply_experts(
      gate_up, gate_up_of(op.experts),
      {.linear = {.y = hidden_.as<float>(), .output = Output::kSiluMul}, .x_rows = tokens_.as<int32_t>()},
      inputs_, op);
  if (!prepare(hidden_inputs_, normed_rows(hidden_.as<float>(), width, {}, ActivationRounding::kNone),
               num_pairs(op), down->forms))
    return;
  multiply_experts(*down, down_at, {.linear = {.y = expert_outputs_.as<float>()}}, hidden_inputs_, op);
  launched(device_.kernels.combine_experts({.outputs = expert_outputs_.as<float>(),
                                            .expert_ids = expert_ids_.as<int32_t>(),
                                            .expert_weights = expert_weights_.as<float>(),
                                            .places = places_.as<int32_t>(),
                                            .groups = down->all,
                                            .y = op.residual,
                                            .num_tokens = op.num_tokens,
                                            .experts_per_token = op.routing.experts_per_token,
                                            .width = hidden_size},
                                           device_.stream),
           "combine_experts");
}

}  // namespace fathom
