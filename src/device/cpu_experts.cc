// Expert and dense networks of the CPU backend. Tokens are sorted by expert, so that each expert's weights
// are read once a step; every thread owns the same columns of every network, so that a token's sums need no
// barrier and are taken in expert order.
#include <algorithm>

#include "device/cpu_backend.h"

namespace fathom {

namespace {
constexpr int64_t kColumnStep = 16;  // floats in a cache line
}

struct CpuBackend::NetworkRows {
  const MlpWeights* weights = nullptr;
  const float* x = nullptr;  // [num_rows, D]
  float* hidden = nullptr;   // [num_rows, width]
  float* up = nullptr;       // [num_rows, width]
  float* out = nullptr;      // [num_rows, D]
  int64_t num_rows = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

void CpuBackend::gate_and_up(const NetworkRows& network, int thread) {
  const int64_t width = network.weights->gate.rows;
  const IndexRange columns = static_share(width, kColumnStep, thread, team_.size());
  kernels::LinearParams product{.x = network.x,
                                .weight = network.weights->gate.data,
                                .y = network.hidden,
                                .num_tokens = network.num_rows,
                                .num_inputs = network.weights->gate.cols,
                                .x_stride = network.weights->gate.cols,
                                .y_stride = width,
                                .begin = columns.begin,
                                .end = columns.end,
                                .weight_dtype = network.weights->gate.dtype};
  kernels_.linear(product);
  product.weight = network.weights->up.data;
  product.weight_dtype = network.weights->up.dtype;
  product.y = network.up;
  kernels_.linear(product);
  kernels_.silu_mul({.gate = network.hidden,
                     .up = network.up,
                     .h = network.hidden,
                     .num_tokens = network.num_rows,
                     .stride = width,
                     .begin = columns.begin,
                     .end = columns.end,
                     .rounding = network.rounding});
}

void CpuBackend::down(const NetworkRows& network, int thread, kernels::LinearParams::Output output) {
  const Weight& weight = network.weights->down;
  const IndexRange columns = static_share(weight.rows, kColumnStep, thread, team_.size());
  kernels_.linear({.x = network.hidden,
                   .weight = weight.data,
                   .y = network.out,
                   .num_tokens = network.num_rows,
                   .num_inputs = weight.cols,
                   .x_stride = weight.cols,
                   .y_stride = weight.rows,
                   .begin = columns.begin,
                   .end = columns.end,
                   .weight_dtype = weight.dtype,
                   .output = output});
}

void CpuBackend::mlp(const MlpOp& op) {
  const int64_t width = op.weights->gate.rows;
  const NetworkRows network{.weights = op.weights,
                            .x = op.x,
                            .hidden = scratch(kDenseHidden, op.num_tokens * width),
                            .up = scratch(kDenseUp, op.num_tokens * width),
                            .out = op.residual,
                            .num_rows = op.num_tokens,
                            .rounding = op.rounding};
  team_.run([&](int thread) {
    gate_and_up(network, thread);
    team_.barrier();
    down(network, thread, kernels::LinearParams::Output::kAdd);
  });
}

// Counting sort of the (token, expert) pairs by expert, tokens ascending.
void CpuBackend::plan_experts(const ExpertsOp& op) {
  ExpertPlan& plan = expert_plan_;
  const auto num_pairs = static_cast<size_t>(op.num_tokens * op.experts_per_token);
  plan.offsets.assign(op.experts.size() + 1, 0);
  plan.tokens.resize(num_pairs);
  plan.weights.resize(num_pairs);
  for (size_t i = 0; i < num_pairs; ++i) ++plan.offsets[static_cast<size_t>(op.expert_ids[i]) + 1];
  for (size_t e = 0; e < op.experts.size(); ++e) plan.offsets[e + 1] += plan.offsets[e];
  plan.cursors.assign(plan.offsets.begin(), plan.offsets.end() - 1);
  for (size_t i = 0; i < num_pairs; ++i) {
    const auto row = static_cast<size_t>(plan.cursors[static_cast<size_t>(op.expert_ids[i])]++);
    plan.tokens[row] = static_cast<int32_t>(static_cast<int64_t>(i) / op.experts_per_token);
    plan.weights[row] = op.expert_weights[i];
  }
}

CpuBackend::NetworkRows CpuBackend::expert_rows(const ExpertsOp& op, size_t expert) {
  const MlpWeights& weights = op.experts[expert];
  const int64_t first = expert_plan_.offsets[expert];
  return {.weights = &weights,
          .x = scratch_[kExpertInputs].data() + first * weights.gate.cols,
          .hidden = scratch_[kExpertHidden].data() + first * weights.gate.rows,
          .up = scratch_[kExpertUp].data() + first * weights.gate.rows,
          .out = scratch_[kExpertOutputs].data() + first * weights.down.rows,
          .num_rows = expert_plan_.offsets[expert + 1] - first,
          .rounding = op.rounding};
}

CpuBackend::NetworkRows CpuBackend::shared_rows(const ExpertsOp& op) {
  return {.weights = op.shared,
          .x = op.x,
          .hidden = scratch_[kDenseHidden].data(),
          .up = scratch_[kDenseUp].data(),
          .out = scratch_[kExpertSums].data(),
          .num_rows = op.num_tokens,
          .rounding = op.rounding};
}

void CpuBackend::experts(const ExpertsOp& op) {
  plan_experts(op);
  const int64_t num_pairs = op.num_tokens * op.experts_per_token;
  const int64_t width = op.experts[0].gate.rows;
  const int64_t hidden_size = op.experts[0].gate.cols;
  scratch(kExpertInputs, num_pairs * hidden_size);
  scratch(kExpertHidden, num_pairs * width);
  scratch(kExpertUp, num_pairs * width);
  scratch(kExpertOutputs, num_pairs * hidden_size);
  scratch(kExpertSums, op.num_tokens * hidden_size);
  if (op.shared != nullptr) {
    scratch(kDenseHidden, op.num_tokens * op.shared->gate.rows);
    scratch(kDenseUp, op.num_tokens * op.shared->gate.rows);
  }
  team_.run([&](int thread) {
    run_routed_experts(op, thread);
    if (op.shared != nullptr) gate_and_up(shared_rows(op), thread);
    team_.barrier();
    sum_experts(op, thread);
  });
}

// Gathers the inputs, then computes every chosen expert's hidden activations.
void CpuBackend::run_routed_experts(const ExpertsOp& op, int thread) {
  const int64_t hidden_size = op.experts[0].gate.cols;
  const auto num_pairs = static_cast<int64_t>(expert_plan_.tokens.size());
  const IndexRange rows = static_share(num_pairs, 1, thread, team_.size());
  float* inputs = scratch_[kExpertInputs].data();
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float* x = op.x + expert_plan_.tokens[static_cast<size_t>(row)] * hidden_size;
    std::copy(x, x + hidden_size, inputs + row * hidden_size);
  }
  team_.barrier();
  for (size_t e = 0; e < op.experts.size(); ++e) {
    const NetworkRows network = expert_rows(op, e);
    if (network.num_rows > 0) gate_and_up(network, thread);
  }
}

// Adds this thread's columns of every expert's output to the residual.
void CpuBackend::sum_experts(const ExpertsOp& op, int thread) {
  const int64_t hidden_size = op.experts[0].gate.cols;
  const IndexRange columns = static_share(hidden_size, kColumnStep, thread, team_.size());
  float* sums = scratch_[kExpertSums].data();
  for (int64_t t = 0; t < op.num_tokens; ++t) {
    std::fill(sums + t * hidden_size + columns.begin, sums + t * hidden_size + columns.end, 0.0f);
  }
  for (size_t e = 0; e < op.experts.size(); ++e) {
    const NetworkRows network = expert_rows(op, e);
    if (network.num_rows == 0) continue;
    down(network, thread, kernels::LinearParams::Output::kStore);
    for (int64_t i = 0; i < network.num_rows; ++i) {
      const auto pair = static_cast<size_t>(expert_plan_.offsets[e] + i);
      float* sum = sums + expert_plan_.tokens[pair] * hidden_size;
      const float weight = expert_plan_.weights[pair];
      for (int64_t j = columns.begin; j < columns.end; ++j)
        sum[j] += weight * network.out[i * hidden_size + j];
    }
  }
  if (op.shared != nullptr) down(shared_rows(op), thread, kernels::LinearParams::Output::kAdd);
  for (int64_t t = 0; t < op.num_tokens; ++t) {
    for (int64_t j = columns.begin; j < columns.end; ++j) {
      op.residual[t * hidden_size + j] += sums[t * hidden_size + j];
    }
  }
}

}  // namespace fathom
