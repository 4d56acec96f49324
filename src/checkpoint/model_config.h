// config.json of the DeepSeek-V2 family as typed fields in the checkpoint's spelling, checked before anything
// is sized by them. Not here: the names and shapes of weights (model/weight_table.h), sampling defaults
// (generation_config.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "checkpoint/quant_type.h"
#include "tensor/dtype.h"

namespace fathom {

// How the router chooses. The early spelling "gready" is read as greedy.
enum class TopkMethod { kGreedy, kGroupLimitedGreedy };

// YaRN's stretching of the rope frequencies. Absent keys take the defaults below, those of the model's first
// published code: an absent mscale_all_dim leaves the softmax scale alone.
struct YarnScaling {
  double factor = 1;
  int64_t original_max_position_embeddings = 4096;
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
  bool operator==(const YarnScaling&) const = default;
};

// Initial values are what an absent or null key means; keys without one are required.
struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;  // absent: num_attention_heads; another number is refused
  std::optional<int64_t> q_lora_rank;
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;
  bool attention_bias = false;  // of q_a_proj, kv_a_proj_with_mqa and o_proj

  int64_t intermediate_size = 0;
  int64_t n_routed_experts = 0;       // 0: every layer is dense
  int64_t moe_intermediate_size = 0;  // required with experts
  int64_t n_shared_experts = 0;
  int64_t num_experts_per_tok = 0;  // required with experts
  int64_t first_k_dense_replace = 0;
  int64_t moe_layer_freq = 1;
  TopkMethod topk_method = TopkMethod::kGreedy;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  bool norm_topk_prob = false;
  double routed_scaling_factor = 1;

  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  std::optional<YarnScaling> rope_scaling;
  int64_t max_position_embeddings = 2048;
  bool tie_word_embeddings = false;
  DType torch_dtype = DType::kBFloat16;
  // Of a quantised checkpoint. What is stored how, its description file says (quantization.h).
  std::optional<QuantType> quantize;      // never kFloat, like the two below
  std::optional<QuantType> mla_quantize;  // for self_attn instead
  std::optional<QuantType> moe_quantize;  // for the routed experts instead
  std::optional<int64_t> bos_token_id;
  std::vector<int64_t> eos_token_ids;  // the key eos_token_id, which holds one id or a list

  int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  // Per head, what kv_b_proj makes of a latent: the key without its rope part, and the value.
  int64_t kv_head_dim() const { return qk_nope_head_dim + v_head_dim; }
  // Elements one layer caches for one token: the latent and the rotated key.
  int64_t cache_dim() const { return kv_lora_rank + qk_rope_head_dim; }
  int64_t shared_intermediate_size() const { return moe_intermediate_size * n_shared_experts; }
  bool is_moe_layer(int64_t layer_index) const {
    return n_routed_experts > 0 && layer_index >= first_k_dense_replace && layer_index % moe_layer_freq == 0;
  }
  bool operator==(const ModelConfig&) const = default;
};

// The range rules bound each field; these bound their products, so that no size computed from a config
// overflows.
inline constexpr int64_t kMaxModelTensors = int64_t{1} << 18;
inline constexpr int64_t kMaxModelParameters = int64_t{1} << 46;

// name starts every message, usually the file's path. Reads both spellings of the rope keys (rope_scaling
// with rope_theta beside it, rope_parameters with it inside), of the dtype key and of model_type; ignores
// keys it does not know; refuses other model types, other quantisations than QuantType's and values outside
// the ranges, naming field and limit.
Result<ModelConfig> parse_model_config(const Json& json, const std::string& name);

// Reads directory/config.json.
Result<ModelConfig> load_model_config(const std::string& directory);

// A config.json that parse_model_config reads back as the same config.
Json to_json(const ModelConfig& config);

}  // namespace fathom
