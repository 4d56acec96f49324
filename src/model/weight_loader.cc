#include "model/weight_loader.h"

#include "base/memory_info.h"
#include "kernels/ref/numbers.h"

namespace fathom {
namespace {

// How far reading runs ahead of packing: enough for a fast disk's queue, little beside the model.
constexpr uint64_t kReadAheadBytes = uint64_t{256} << 20;

}  // namespace

WeightReading choose_reading(const Checkpoint& checkpoint) {
  const auto available = read_memory_info().available();
  return available && *available < 2 * checkpoint.data_bytes() ? WeightReading::kStreamed
                                                               : WeightReading::kMapped;
}

WeightLoader::WeightLoader(Backend& backend, const Checkpoint& checkpoint,
                           const QuantDescription& description, const ModelConfig& config,
                           WeightReading reading, ProgressSink* progress)
    : backend_(backend),
      checkpoint_(checkpoint),
      description_(description),
      config_(config),
      progress_(progress) {
  for (WeightSpec& spec : weight_table(config)) {
    if (checkpoint.contains(spec.name)) ahead_.push_back(spec.name);
    specs_.emplace(spec.name, std::move(spec));
  }
  if (reading == WeightReading::kStreamed) {
    stream_ = std::make_unique<TensorStream>(checkpoint, ahead_, kReadAheadBytes);
  }
}

void WeightLoader::read_ahead() {
  for (; num_ahead_ < ahead_.size() && ahead_bytes_ < done_bytes_ + kReadAheadBytes; ++num_ahead_) {
    const std::string& name = ahead_[num_ahead_];
    checkpoint_.prefetch(name);
    ahead_bytes_ += checkpoint_.tensor(name)->num_bytes();
  }
}

WeightSource WeightLoader::Source::view() const {
  return {.tensor = tensor,
          .scales = scales.empty() ? nullptr : scales.data(),
          .int8_inputs = has_16bit_inputs(type) ? Int8Inputs::kInt16 : Int8Inputs::kInt8,
          .factors = factors,
          .group_size = group_size};
}

bool WeightLoader::has(WeightRole role, Place place) const {
  return specs_.contains(weight_name(role, place.layer, place.expert));
}

Result<WeightLoader::Source> WeightLoader::source(WeightRole role, Place place) {
  Source source;
  source.name = weight_name(role, place.layer, place.expert);
  FATHOM_ASSIGN_OR_RETURN(const StoredWeight stored,
                          stored_weight(checkpoint_, description_, specs_.at(source.name)));
  source.tensor = stored.tensor;
  if (stream_ != nullptr) {
    FATHOM_ASSIGN_OR_RETURN(source.tensor.data, stream_->take(source.name));
  } else {
    read_ahead();
  }
  source.factors = static_cast<const uint8_t*>(stored.factors.data);
  source.group_size = stored.group_size;
  source.type = stored.type;
  if (stored.type != QuantType::kFloat) {
    for (int64_t row = 0; row < stored.tensor.shape[0]; ++row) {
      source.scales.push_back(kernels::ref::load_element(stored.scale.data, stored.scale.dtype, row));
    }
  }
  return source;
}

void WeightLoader::finish(const Source& source) {
  if (stream_ != nullptr) {
    stream_->give_back(source.name);
  } else {
    checkpoint_.release(source.name);
  }
  done_bytes_ += source.tensor.num_bytes();
  if (progress_ != nullptr) progress_->report("loading", done_bytes_, checkpoint_.data_bytes());
}

Status WeightLoader::load_matrix(WeightRole role, Place place, Weight& weight) {
  FATHOM_ASSIGN_OR_RETURN(const Source from, source(role, place));
  Result<Weight> made = backend_.load_matrix(from.view());
  if (!made.ok()) return made.status().with_context(from.name);
  weight = std::move(made).value();
  finish(from);
  return ok_status();
}

Status WeightLoader::load_vector(WeightRole role, Place place, VectorWeight& weight) {
  if (!has(role, place)) return ok_status();
  FATHOM_ASSIGN_OR_RETURN(const Source from, source(role, place));
  Result<VectorWeight> made = backend_.load_vector(from.tensor);
  if (!made.ok()) return made.status().with_context(from.name);
  weight = *made;
  finish(from);
  return ok_status();
}

Status WeightLoader::load_mlp(WeightRole gate, WeightRole up, WeightRole down, Place place,
                              MlpWeights& weights) {
  FATHOM_ASSIGN_OR_RETURN(const Source gate_from, source(gate, place));
  FATHOM_ASSIGN_OR_RETURN(const Source up_from, source(up, place));
  FATHOM_ASSIGN_OR_RETURN(const Source down_from, source(down, place));
  Result<MlpWeights> made = backend_.load_mlp(gate_from.view(), up_from.view(), down_from.view());
  if (!made.ok()) return made.status().with_context(gate_from.name);
  weights = std::move(made).value();
  for (const Source* from : {&gate_from, &up_from, &down_from}) finish(*from);
  return ok_status();
}

Status WeightLoader::load_kv_b(Place place, KvBWeights& weights) {
  FATHOM_ASSIGN_OR_RETURN(const Source from, source(WeightRole::kKvBProj, place));
  Result<KvBWeights> made =
      backend_.load_kv_b(from.tensor, config_.num_attention_heads, config_.qk_nope_head_dim);
  if (!made.ok()) return made.status().with_context(from.name);
  weights = std::move(made).value();
  finish(from);
  return ok_status();
}

Status WeightLoader::load_attention(Place place, AttentionWeights& weights) {
  if (config_.q_lora_rank) {
    FATHOM_RETURN_IF_ERROR(load_matrix(WeightRole::kQAProj, place, weights.q_a_proj));
    FATHOM_RETURN_IF_ERROR(load_vector(WeightRole::kQABias, place, weights.q_a_bias));
    FATHOM_RETURN_IF_ERROR(load_vector(WeightRole::kQANorm, place, weights.q_a_norm));
    FATHOM_RETURN_IF_ERROR(load_matrix(WeightRole::kQBProj, place, weights.q_b_proj));
  } else {
    FATHOM_RETURN_IF_ERROR(load_matrix(WeightRole::kQProj, place, weights.q_proj));
  }
  FATHOM_RETURN_IF_ERROR(load_matrix(WeightRole::kKvAProj, place, weights.kv_a_proj));
  FATHOM_RETURN_IF_ERROR(load_vector(WeightRole::kKvABias, place, weights.kv_a_bias));
  FATHOM_RETURN_IF_ERROR(load_vector(WeightRole::kKvANorm, place, weights.kv_a_norm));
  FATHOM_RETURN_IF_ERROR(load_kv_b(place, weights.kv_b_proj));
  FATHOM_RETURN_IF_ERROR(load_matrix(WeightRole::kOProj, place, weights.o_proj));
  return load_vector(WeightRole::kOBias, place, weights.o_bias);
}

Status WeightLoader::load_layer(int64_t layer_index, LayerWeights& layer) {
  const Place place{.layer = layer_index};
  FATHOM_RETURN_IF_ERROR(load_vector(WeightRole::kInputNorm, place, layer.input_norm));
  FATHOM_RETURN_IF_ERROR(load_attention(place, layer.attention));
  FATHOM_RETURN_IF_ERROR(load_vector(WeightRole::kPostAttentionNorm, place, layer.post_attention_norm));
  if (!config_.is_moe_layer(layer_index)) {
    return load_mlp(WeightRole::kDenseGate, WeightRole::kDenseUp, WeightRole::kDenseDown, place, layer.dense);
  }
  FATHOM_RETURN_IF_ERROR(load_matrix(WeightRole::kRouter, place, layer.router));
  layer.experts.resize(static_cast<size_t>(config_.n_routed_experts));
  for (int64_t e = 0; e < config_.n_routed_experts; ++e) {
    FATHOM_RETURN_IF_ERROR(load_mlp(WeightRole::kExpertGate, WeightRole::kExpertUp, WeightRole::kExpertDown,
                                    {.layer = layer_index, .expert = e},
                                    layer.experts[static_cast<size_t>(e)]));
  }
  if (!has(WeightRole::kSharedGate, place)) return ok_status();
  return load_mlp(WeightRole::kSharedGate, WeightRole::kSharedUp, WeightRole::kSharedDown, place,
                  layer.shared);
}

Status WeightLoader::load_embedding(EmbeddingTable& weight) {
  FATHOM_ASSIGN_OR_RETURN(const Source from, source(WeightRole::kEmbedTokens, {}));
  Result<EmbeddingTable> made = backend_.load_embedding(from.tensor);
  if (!made.ok()) return made.status().with_context(from.name);
  weight = *made;
  // A tied head packs it again at the end.
  if (!config_.tie_word_embeddings) finish(from);
  return ok_status();
}

Result<ModelWeights> WeightLoader::load() {
  ModelWeights weights;
  // In the order in which files hold the weights, which is that of reading ahead.
  FATHOM_RETURN_IF_ERROR(load_embedding(weights.embed_tokens));
  weights.layers.resize(static_cast<size_t>(config_.num_hidden_layers));
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    FATHOM_RETURN_IF_ERROR(load_layer(i, weights.layers[static_cast<size_t>(i)]));
  }
  FATHOM_RETURN_IF_ERROR(load_vector(WeightRole::kFinalNorm, {}, weights.final_norm));
  FATHOM_RETURN_IF_ERROR(load_matrix(
      config_.tie_word_embeddings ? WeightRole::kEmbedTokens : WeightRole::kLmHead, {}, weights.lm_head));
  return weights;
}

}  // namespace fathom
