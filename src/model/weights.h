// The loaded weights of one DeepSeek-V2 model, in the backend's layout: all of them, or what one rank has of
// them (model/sharding.h). H is the rank's number of heads, a slice's widths are its own. Const after
// loading.
#pragma once

#include <vector>

#include "device/weights.h"

namespace fathom {

struct AttentionWeights {
  Weight q_proj;               // [H (n + r), D]; without q-LoRA
  Weight q_a_proj;             // [q_lora_rank, D]
  VectorWeight q_a_bias;       // with attention_bias
  VectorWeight q_a_norm;       // [q_lora_rank]
  Weight q_b_proj;             // [H (n + r), q_lora_rank]
  Weight kv_a_proj;            // [R + r, D]
  VectorWeight kv_a_bias;      // with attention_bias
  VectorWeight kv_a_norm;      // [R]
  KvBWeights kv_b_proj;        // [H (n + v), R]
  std::vector<Weight> o_proj;  // by slice, [D, a slice's heads times v]
  VectorWeight o_bias;         // with attention_bias
};

// One slice of a layer's network. Absent: a width that has fewer units than there are slices, or experts of
// another group.
struct NetworkSlice {
  MlpWeights dense;                 // dense layers
  std::vector<MlpWeights> experts;  // [E]; MoE layers
  MlpWeights shared;                // absent also without shared experts
};

struct LayerWeights {
  VectorWeight input_norm;  // [D]
  AttentionWeights attention;
  VectorWeight post_attention_norm;   // [D]
  Weight router;                      // [E, D]; MoE layers
  std::vector<NetworkSlice> network;  // by slice
};

struct ModelWeights {
  EmbeddingTable embed_tokens;  // the rank's rows of [vocab, D]
  std::vector<LayerWeights> layers;
  VectorWeight final_norm;  // [D]
  Weight lm_head;           // likewise
};

}  // namespace fathom
