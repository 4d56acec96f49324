// Small configurations for tests: every kind of layer, a few kilobytes of weights.
#pragma once

#include "checkpoint/model_config.h"

namespace fathom::testing {

// One dense and two MoE layers of four experts, without q-LoRA.
inline ModelConfig tiny_config() {
  ModelConfig config;
  config.vocab_size = 40;
  config.hidden_size = 16;
  config.num_hidden_layers = 3;
  config.num_attention_heads = config.num_key_value_heads = 2;
  config.kv_lora_rank = 8;
  config.qk_nope_head_dim = 6;
  config.qk_rope_head_dim = 4;
  config.v_head_dim = 5;
  config.intermediate_size = 24;
  config.n_routed_experts = 4;
  config.moe_intermediate_size = 10;
  config.n_shared_experts = 2;
  config.num_experts_per_tok = 2;
  config.first_k_dense_replace = 1;
  config.max_position_embeddings = 256;
  config.bos_token_id = 0;
  config.eos_token_ids = {1};
  return config;
}

// The same with q-LoRA, expert groups, biases and YaRN.
inline ModelConfig tiny_grouped_config() {
  ModelConfig config = tiny_config();
  config.q_lora_rank = 7;
  config.attention_bias = true;
  config.topk_method = TopkMethod::kGroupLimitedGreedy;
  config.n_group = 4;
  config.topk_group = 2;
  config.routed_scaling_factor = 2.5;
  config.rope_scaling = YarnScaling{.factor = 40, .mscale = 0.707, .mscale_all_dim = 0.707};
  return config;
}

}  // namespace fathom::testing
