// The loaded weights of one DeepSeek-V2 model, in the backend's layout. Const after loading.
#pragma once

#include <vector>

#include "device/weights.h"

namespace fathom {

struct AttentionWeights {
  Weight q_proj;           // [H (n + r), D]; without q-LoRA
  Weight q_a_proj;         // [q_lora_rank, D]
  VectorWeight q_a_bias;   // with attention_bias
  VectorWeight q_a_norm;   // [q_lora_rank]
  Weight q_b_proj;         // [H (n + r), q_lora_rank]
  Weight kv_a_proj;        // [R + r, D]
  VectorWeight kv_a_bias;  // with attention_bias
  VectorWeight kv_a_norm;  // [R]
  KvBWeights kv_b_proj;    // [H (n + v), R]
  Weight o_proj;           // [D, H v]
  VectorWeight o_bias;     // with attention_bias
};

struct LayerWeights {
  VectorWeight input_norm;  // [D]
  AttentionWeights attention;
  VectorWeight post_attention_norm;  // [D]
  MlpWeights dense;                  // dense layers
  Weight router;                     // [E, D]; MoE layers
  std::vector<MlpWeights> experts;   // [E]
  MlpWeights shared;                 // absent without shared experts
};

struct ModelWeights {
  EmbeddingTable embed_tokens;  // [vocab, D]
  std::vector<LayerWeights> layers;
  VectorWeight final_norm;  // [D]
  Weight lm_head;           // [vocab, D]
};

}  // namespace fathom
