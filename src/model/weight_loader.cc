#include "model/weight_loader.h"

#include "base/check.h"
#include "base/memory_info.h"

namespace fathom {
namespace {

// How far reading runs ahead of packing: enough for a fast disk's queue, little beside the model.
constexpr uint64_t kReadAheadBytes = uint64_t{256} << 20;

}  // namespace

WeightReading choose_reading(const Checkpoint& checkpoint, const Sharding& sharding, int64_t ranks_here) {
  const auto available = read_memory_info().available();
  const bool whole_tensors = !sharding.is_sliced() || checkpoint.rank_part() != nullptr;
  const uint64_t needed = 2 * checkpoint.data_bytes() * static_cast<uint64_t>(ranks_here);
  return whole_tensors && available && *available < needed ? WeightReading::kStreamed
                                                           : WeightReading::kMapped;
}

WeightLoader::WeightLoader(Backend& backend, const Checkpoint& checkpoint,
                           const QuantDescription& description, const ModelConfig& config,
                           const Sharding& sharding, WeightReading reading, ProgressSink* progress)
    : backend_(backend),
      checkpoint_(checkpoint),
      description_(description),
      config_(config),
      sharding_(sharding),
      progress_(progress) {
  plan_reading();
  if (reading == WeightReading::kStreamed) {
    FATHOM_CHECK(!cuts(), "a stream of {} slices", sharding.num_slices);
    std::vector<std::string> names;
    for (const Ahead& ahead : ahead_) names.push_back(ahead.name);
    stream_ = std::make_unique<TensorStream>(checkpoint, std::move(names), kReadAheadBytes);
  }
}

void WeightLoader::plan_reading() {
  for (WeightSpec& spec : weight_table(config_)) {
    if (cuts()) plan_cut(spec);
    specs_.emplace(spec.name, std::move(spec));
  }
  if (!cuts()) {
    for (WeightSpec& spec : stored_table(checkpoint_, config_)) {
      const size_t bytes = checkpoint_.extent_of(spec.name).size;
      ahead_.push_back({.name = std::move(spec.name), .end = bytes, .packed_bytes = bytes});
    }
  }
  for (const Ahead& ahead : ahead_) total_bytes_ += ahead.packed_bytes;
}

// Rows are read where they lie; of cut columns whole rows come with them, for pages hold parts of several.
void WeightLoader::plan_cut(const WeightSpec& spec) {
  const int64_t elements = rank_elements(spec, config_, sharding_);
  if (elements == 0) return;
  const size_t bytes = checkpoint_.extent_of(spec.name).size;
  const size_t row_bytes = bytes / static_cast<size_t>(spec.shape[0]);
  Ahead ahead{.name = spec.name, .end = bytes};
  if (spec.shard_axis == ShardAxis::kRows && spec.expert < 0) {
    const IndexRange rows = slice_of(spec, config_, sharding_, rank_slices(spec, sharding_)).rows;
    ahead.begin = static_cast<size_t>(rows.begin) * row_bytes;
    ahead.end = static_cast<size_t>(rows.end) * row_bytes;
  }
  ahead.packed_bytes = row_bytes * static_cast<uint64_t>(elements) /
                       static_cast<uint64_t>(spec.shape.num_elements() / spec.shape[0]);
  ahead_.push_back(std::move(ahead));
}

void WeightLoader::read_ahead() {
  for (; num_ahead_ < ahead_.size() && ahead_bytes_ < done_bytes_ + kReadAheadBytes; ++num_ahead_) {
    const Ahead& ahead = ahead_[num_ahead_];
    checkpoint_.prefetch(ahead.name, ahead.begin, ahead.end);
    ahead_bytes_ += ahead.packed_bytes;
  }
}

bool WeightLoader::has(WeightRole role, Place place) const {
  return specs_.contains(weight_name(role, place.layer, place.expert));
}

Result<WeightWindow> WeightLoader::window(WeightRole role, Place place, IndexRange slices) {
  const WeightSpec& spec = specs_.at(weight_name(role, place.layer, place.expert));
  const WeightPiece piece = weight_piece(spec, config_, sharding_, slices);
  const WeightSpec& from = cuts() ? spec : piece.spec;
  const TensorSlice slice = cuts() ? piece.slice : whole_of(from);
  FATHOM_ASSIGN_OR_RETURN(const StoredWeight stored, stored_weight(checkpoint_, description_, from));
  const void* data = stored.tensor.data;
  if (stream_ != nullptr) {
    FATHOM_ASSIGN_OR_RETURN(data, stream_->take(from.name));
  } else {
    read_ahead();
  }
  return cut_weight(from.name, stored, data, slice);
}

void WeightLoader::finish(const WeightWindow& window) {
  if (stream_ != nullptr) {
    stream_->give_back(window.name);
  } else {
    checkpoint_.release(window.name);
  }
  done_bytes_ += window.tensor.num_bytes();
  if (progress_ != nullptr) progress_->report("loading", done_bytes_, total_bytes_);
}

Status WeightLoader::load_matrix(WeightRole role, Place place, Weight& weight) {
  const WeightSpec& spec = specs_.at(weight_name(role, place.layer, place.expert));
  return load_matrix(role, place, rank_slices(spec, sharding_), weight);
}

Status WeightLoader::load_matrix(WeightRole role, Place place, IndexRange slices, Weight& weight) {
  FATHOM_ASSIGN_OR_RETURN(const WeightWindow from, window(role, place, slices));
  Result<Weight> made = backend_.load_matrix(from.source());
  if (!made.ok()) return made.status().with_context(from.name);
  weight = std::move(made).value();
  finish(from);
  return ok_status();
}

Status WeightLoader::load_vector(WeightRole role, Place place, VectorWeight& weight) {
  if (!has(role, place)) return ok_status();
  FATHOM_ASSIGN_OR_RETURN(const WeightWindow from, window(role, place, sharding_.slices()));
  Result<VectorWeight> made = backend_.load_vector(from.tensor);
  if (!made.ok()) return made.status().with_context(from.name);
  weight = *made;
  finish(from);
  return ok_status();
}

Status WeightLoader::load_mlp(WeightRole gate, WeightRole up, WeightRole down, Place place, IndexRange slice,
                              MlpWeights& weights) {
  const WeightSpec& spec = specs_.at(weight_name(down, place.layer, place.expert));
  if (slice_of(spec, config_, sharding_, slice).num_elements() == 0) return ok_status();
  FATHOM_ASSIGN_OR_RETURN(const WeightWindow gate_from, window(gate, place, slice));
  FATHOM_ASSIGN_OR_RETURN(const WeightWindow up_from, window(up, place, slice));
  FATHOM_ASSIGN_OR_RETURN(const WeightWindow down_from, window(down, place, slice));
  Result<MlpWeights> made = backend_.load_mlp(gate_from.source(), up_from.source(), down_from.source());
  if (!made.ok()) return made.status().with_context(gate_from.name);
  weights = std::move(made).value();
  for (const WeightWindow* from : {&gate_from, &up_from, &down_from}) finish(*from);
  return ok_status();
}

Status WeightLoader::load_kv_b(Place place, KvBWeights& weights) {
  FATHOM_ASSIGN_OR_RETURN(const WeightWindow from,
                          window(WeightRole::kKvBProj, place, sharding_.head_slices()));
  Result<KvBWeights> made =
      backend_.load_kv_b(from.tensor, sharding_.rank_heads(config_), config_.qk_nope_head_dim);
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
  for (int64_t slice = sharding_.head_slices().begin; slice < sharding_.head_slices().end; ++slice) {
    FATHOM_RETURN_IF_ERROR(
        load_matrix(WeightRole::kOProj, place, {slice, slice + 1}, weights.o_proj.emplace_back()));
  }
  return load_vector(WeightRole::kOBias, place, weights.o_bias);
}

Status WeightLoader::load_network(int64_t layer_index, IndexRange slice, NetworkSlice& network) {
  const Place place{.layer = layer_index};
  if (!config_.is_moe_layer(layer_index)) {
    return load_mlp(WeightRole::kDenseGate, WeightRole::kDenseUp, WeightRole::kDenseDown, place, slice,
                    network.dense);
  }
  network.experts.resize(static_cast<size_t>(config_.n_routed_experts));
  for (int64_t e = 0; e < config_.n_routed_experts; ++e) {
    FATHOM_RETURN_IF_ERROR(load_mlp(WeightRole::kExpertGate, WeightRole::kExpertUp, WeightRole::kExpertDown,
                                    {.layer = layer_index, .expert = e}, slice,
                                    network.experts[static_cast<size_t>(e)]));
  }
  if (!has(WeightRole::kSharedGate, place)) return ok_status();
  return load_mlp(WeightRole::kSharedGate, WeightRole::kSharedUp, WeightRole::kSharedDown, place, slice,
                  network.shared);
}

Status WeightLoader::load_layer(int64_t layer_index, LayerWeights& layer) {
  const Place place{.layer = layer_index};
  FATHOM_RETURN_IF_ERROR(load_vector(WeightRole::kInputNorm, place, layer.input_norm));
  FATHOM_RETURN_IF_ERROR(load_attention(place, layer.attention));
  FATHOM_RETURN_IF_ERROR(load_vector(WeightRole::kPostAttentionNorm, place, layer.post_attention_norm));
  if (config_.is_moe_layer(layer_index))
    FATHOM_RETURN_IF_ERROR(load_matrix(WeightRole::kRouter, place, layer.router));
  for (int64_t slice = sharding_.slices().begin; slice < sharding_.slices().end; ++slice) {
    FATHOM_RETURN_IF_ERROR(load_network(layer_index, {slice, slice + 1}, layer.network.emplace_back()));
  }
  return ok_status();
}

Status WeightLoader::load_embedding(EmbeddingTable& weight) {
  FATHOM_ASSIGN_OR_RETURN(const WeightWindow from, window(WeightRole::kEmbedTokens, {}, sharding_.slices()));
  Result<EmbeddingTable> made = backend_.load_embedding(from.tensor);
  if (!made.ok()) return made.status().with_context(from.name);
  weight = *made;
  weight.first_row = slice_of(specs_.at(from.name), config_, sharding_, sharding_.slices()).rows.begin;
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
