#include "benchmark/linear_shapes.h"

#include <algorithm>
#include <iterator>

namespace fathom {

std::vector<LinearShape> linear_shapes(const ModelConfig& c, KernelGroup group) {
  using Output = kernels::LinearParams::Output;
  constexpr auto kLinear = KernelGroup::kLinear;
  constexpr auto kExperts = KernelGroup::kExperts;
  const int64_t hidden = c.hidden_size;
  const int64_t queries = c.num_attention_heads * c.qk_head_dim();
  const int64_t rank = c.q_lora_rank.value_or(0);
  const int64_t dense = c.is_moe_layer(0) ? 0 : c.intermediate_size;
  const int64_t expert = c.n_routed_experts > 0 ? c.moe_intermediate_size : 0;
  const int64_t shared = c.n_routed_experts > 0 ? c.shared_intermediate_size() : 0;
  // Sizes of 0 are what the model does not have.
  const LinearShape all[] = {
      {"q_proj", kLinear, c.q_lora_rank ? 0 : queries, hidden, Output::kStore},
      {"q_a_proj", kLinear, rank, hidden, Output::kStore},
      {"q_b_proj", kLinear, queries, rank, Output::kStore},
      {"kv_a_proj", kLinear, c.cache_dim(), hidden, Output::kStore},
      {"o_proj", kLinear, hidden, c.num_attention_heads * c.v_head_dim, Output::kAdd},
      {"dense gate_up", kLinear, dense, hidden, Output::kSiluMul},
      {"dense down", kLinear, hidden, dense, Output::kAdd},
      {"router", kLinear, c.n_routed_experts, hidden, Output::kStore, true},
      {"head", kLinear, c.vocab_size, hidden, Output::kStore},
      {"expert gate_up", kExperts, expert, hidden, Output::kSiluMul},
      {"expert down", kExperts, hidden, expert, Output::kAddWeighted},
      {"shared gate_up", kExperts, shared, hidden, Output::kSiluMul},
      {"shared down", kExperts, hidden, shared, Output::kAdd},
  };
  std::vector<LinearShape> shapes;
  std::copy_if(std::begin(all), std::end(all), std::back_inserter(shapes), [group](const LinearShape& shape) {
    return shape.group == group && shape.outputs > 0 && shape.inputs > 0;
  });
  return shapes;
}

}  // namespace fathom
