#include "checkpoint/known_configs.h"

namespace fathom {
namespace {

// What the two sizes share.
ModelConfig family_config() {
  ModelConfig config;
  config.vocab_size = 102400;
  config.kv_lora_rank = 512;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.v_head_dim = 128;
  config.n_shared_experts = 2;
  config.num_experts_per_tok = 6;
  config.first_k_dense_replace = 1;
  config.rope_scaling = YarnScaling{.factor = 40};
  config.max_position_embeddings = 163840;
  config.bos_token_id = 100000;
  config.eos_token_ids = {100001};
  return config;
}

// 15.7 billion parameters.
ModelConfig v2_lite_config() {
  ModelConfig config = family_config();
  config.hidden_size = 2048;
  config.num_hidden_layers = 27;
  config.num_attention_heads = config.num_key_value_heads = 16;
  config.intermediate_size = 10944;
  config.n_routed_experts = 64;
  config.moe_intermediate_size = 1408;
  config.rope_scaling->mscale = config.rope_scaling->mscale_all_dim = 0.707;
  return config;
}

// 235.7 billion parameters.
ModelConfig v2_config() {
  ModelConfig config = family_config();
  config.hidden_size = 5120;
  config.num_hidden_layers = 60;
  config.num_attention_heads = config.num_key_value_heads = 128;
  config.q_lora_rank = 1536;
  config.intermediate_size = 12288;
  config.n_routed_experts = 160;
  config.moe_intermediate_size = 1536;
  config.topk_method = TopkMethod::kGroupLimitedGreedy;
  config.n_group = 8;
  config.topk_group = 3;
  config.routed_scaling_factor = 16;
  config.rope_scaling->mscale = config.rope_scaling->mscale_all_dim = 1;
  return config;
}

}  // namespace

std::optional<ModelConfig> known_config(std::string_view name) {
  if (name == "deepseek-v2-lite") return v2_lite_config();
  if (name == "deepseek-v2") return v2_config();
  return std::nullopt;
}

}  // namespace fathom
