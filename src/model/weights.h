// The loaded weights of one DeepSeek-V2 model, in the backend's layout. Const after loading.
#pragma once

#include <vector>

#include "device/backend.h"

namespace fathom {

struct AttentionWeights {
  Weight q_proj;     // [H (n + r), D]; without q-LoRA
  Weight q_a_proj;   // [q_lora_rank, D]
  Weight q_a_bias;   // with attention_bias
  Weight q_a_norm;   // [q_lora_rank] float32
  Weight q_b_proj;   // [H (n + r), q_lora_rank]
  Weight kv_a_proj;  // [R + r, D]
  Weight kv_a_bias;  // with attention_bias
  Weight kv_a_norm;  // [R] float32
  Weight kv_b_proj;  // [H (n + v), R]
  Weight o_proj;     // [D, H v]
  Weight o_bias;     // with attention_bias
};

struct LayerWeights {
  Weight input_norm;  // [D] float32
  AttentionWeights attention;
  Weight post_attention_norm;       // [D] float32
  MlpWeights dense;                 // dense layers
  Weight router;                    // [E, D] float32; MoE layers
  std::vector<MlpWeights> experts;  // [E]
  MlpWeights shared;                // absent without shared experts
};

struct ModelWeights {
  Weight embed_tokens;  // [vocab, D]
  std::vector<LayerWeights> layers;
  Weight final_norm;  // [D] float32
  Weight lm_head;     // [vocab, D]
};

}  // namespace fathom
