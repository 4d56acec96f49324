// From the weight table to the backend's weights: one place per role.
#include "base/check.h"
#include "model/deepseek_v2.h"
#include "model/weight_table.h"

namespace fathom {
namespace {

Weight& network_part(MlpWeights& network, WeightRole part, WeightRole gate, WeightRole up) {
  if (part == gate) return network.gate;
  return part == up ? network.up : network.down;
}

Weight& place_in_layer(LayerWeights& layer, const WeightSpec& spec) {
  AttentionWeights& attention = layer.attention;
  switch (spec.role) {
    case WeightRole::kInputNorm:
      return layer.input_norm;
    case WeightRole::kQProj:
      return attention.q_proj;
    case WeightRole::kQAProj:
      return attention.q_a_proj;
    case WeightRole::kQABias:
      return attention.q_a_bias;
    case WeightRole::kQANorm:
      return attention.q_a_norm;
    case WeightRole::kQBProj:
      return attention.q_b_proj;
    case WeightRole::kKvAProj:
      return attention.kv_a_proj;
    case WeightRole::kKvABias:
      return attention.kv_a_bias;
    case WeightRole::kKvANorm:
      return attention.kv_a_norm;
    case WeightRole::kKvBProj:
      return attention.kv_b_proj;
    case WeightRole::kOProj:
      return attention.o_proj;
    case WeightRole::kOBias:
      return attention.o_bias;
    case WeightRole::kPostAttentionNorm:
      return layer.post_attention_norm;
    case WeightRole::kRouter:
      return layer.router;
    case WeightRole::kDenseGate:
    case WeightRole::kDenseUp:
    case WeightRole::kDenseDown:
      return network_part(layer.dense, spec.role, WeightRole::kDenseGate, WeightRole::kDenseUp);
    case WeightRole::kSharedGate:
    case WeightRole::kSharedUp:
    case WeightRole::kSharedDown:
      return network_part(layer.shared, spec.role, WeightRole::kSharedGate, WeightRole::kSharedUp);
    case WeightRole::kExpertGate:
    case WeightRole::kExpertUp:
    case WeightRole::kExpertDown:
      return network_part(layer.experts[static_cast<size_t>(spec.expert)], spec.role, WeightRole::kExpertGate,
                          WeightRole::kExpertUp);
    case WeightRole::kEmbedTokens:
    case WeightRole::kFinalNorm:
    case WeightRole::kLmHead:
      break;
  }
  FATHOM_CHECK(false, "{} is of no layer", spec.name);
}

Weight& place_of(ModelWeights& weights, const WeightSpec& spec) {
  switch (spec.role) {
    case WeightRole::kEmbedTokens:
      return weights.embed_tokens;
    case WeightRole::kFinalNorm:
      return weights.final_norm;
    case WeightRole::kLmHead:
      return weights.lm_head;
    default:
      return place_in_layer(weights.layers[static_cast<size_t>(spec.layer)], spec);
  }
}

// Norms, biases and the router are small and computed with in float32.
bool kept_in_float32(const WeightSpec& spec) {
  return spec.shape.rank() == 1 || spec.role == WeightRole::kRouter;
}

}  // namespace

Status DeepseekV2::load_weights(const Checkpoint& checkpoint, ProgressSink* progress) {
  weights_.layers.resize(static_cast<size_t>(config_.num_hidden_layers));
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    if (!config_.is_moe_layer(i)) continue;
    weights_.layers[static_cast<size_t>(i)].experts.resize(static_cast<size_t>(config_.n_routed_experts));
  }
  uint64_t done = 0;
  for (const WeightSpec& spec : weight_table(config_)) {
    FATHOM_ASSIGN_OR_RETURN(const TensorView tensor, checkpoint.tensor(spec.name));
    if (tensor.dtype == DType::kInt8) {
      return unsupported("{}: tensor \"{}\" is int8, which this version cannot compute with",
                         checkpoint.file_of(spec.name), spec.name);
    }
    Result<Weight> weight =
        kept_in_float32(spec) ? backend_.load_float_weight(tensor) : backend_.load_weight(tensor);
    if (!weight.ok()) return weight.status().with_context(spec.name);
    place_of(weights_, spec) = std::move(weight).value();
    done += tensor.num_bytes();
    if (progress != nullptr) progress->report("loading", done, checkpoint.data_bytes());
  }
  if (config_.tie_word_embeddings) {
    FATHOM_ASSIGN_OR_RETURN(const TensorView tensor,
                            checkpoint.tensor(weight_name(WeightRole::kEmbedTokens)));
    FATHOM_ASSIGN_OR_RETURN(weights_.lm_head, backend_.load_weight(tensor));
  }
  return ok_status();
}

}  // namespace fathom
