// The one table of the model's weights: every tensor a DeepSeek-V2 checkpoint must hold, with its name,
// shape, role, how ranks share it and what it may be stored as. Loading, checking, planning memory, synthesis
// and quantisation read it. Not here: what a checkpoint really holds (stored_weight.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/model_config.h"
#include "tensor/view.h"

namespace fathom {

enum class WeightRole : uint8_t {
  kEmbedTokens,
  kInputNorm,
  kQProj,
  kQAProj,
  kQABias,
  kQANorm,
  kQBProj,
  kKvAProj,  // kv_a_proj_with_mqa
  kKvABias,
  kKvANorm,
  kKvBProj,
  kOProj,
  kOBias,
  kPostAttentionNorm,
  kDenseGate,
  kDenseUp,
  kDenseDown,
  kRouter,  // mlp.gate
  kSharedGate,
  kSharedUp,
  kSharedDown,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kFinalNorm,
  kLmHead,
};
inline constexpr int kNumWeightRoles = static_cast<int>(WeightRole::kLmHead) + 1;

// How tensor-parallel ranks share a weight (model/sharding.h). Rows are output features, columns input
// features. Routed experts may also be shared out whole.
enum class ShardAxis : uint8_t {
  kNone,  // every rank holds all of it
  kRows,
  kColumns,  // the product is a partial sum
};

// What may be stored: always a floating type; int8 or int4 (checkpoint/quant_type.h) only for the linear
// layers and the head (not kv_b_proj, which is split at load, nor the router and the embedding).
enum class WeightFormats : uint8_t { kFloat, kFloatOrQuantized };

struct WeightSpec {
  std::string name;
  WeightRole role = WeightRole::kEmbedTokens;
  int32_t layer = -1;   // -1: of no layer
  int32_t expert = -1;  // -1: of no routed expert
  ShardAxis shard_axis = ShardAxis::kNone;
  WeightFormats formats = WeightFormats::kFloat;
  Shape shape;
};

// "q_a_proj", "expert_down", ...: the role in messages and tables.
std::string_view role_name(WeightRole role);
std::optional<WeightRole> role_from_name(std::string_view name);
WeightFormats role_formats(WeightRole role);
// The tensor's name in a checkpoint; layer and expert are ignored where the role has none.
std::string weight_name(WeightRole role, int64_t layer = -1, int64_t expert = -1);

// Every weight of the model: embedding, layers in order, final norm, head. A model with tie_word_embeddings
// has no head of its own: embed_tokens is used.
std::vector<WeightSpec> weight_table(const ModelConfig& config);

// How a checkpoint of this config stores the weight where nobody has edited it: as the config's quantize,
// mla_quantize and moe_quantize say. The head stays a floating type, for the sake of quality.
QuantType default_quant_type(const ModelConfig& config, const WeightSpec& spec);

}  // namespace fathom
