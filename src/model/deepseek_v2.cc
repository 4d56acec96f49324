#include "model/deepseek_v2.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/check.h"
#include "base/checked_math.h"
#include "model/rope.h"
#include "model/weight_loader.h"

namespace fathom {
namespace {

// q_a_layernorm and kv_a_layernorm are built without an eps argument in the reference: always this.
constexpr float kLoraNormEps = 1e-6f;

ActivationRounding rounding_of(DType dtype) {
  if (dtype == DType::kBFloat16) return ActivationRounding::kBFloat16;
  return dtype == DType::kFloat16 ? ActivationRounding::kFloat16 : ActivationRounding::kNone;
}

const VectorWeight* bias_or_null(const VectorWeight& bias) { return bias.present() ? &bias : nullptr; }

}  // namespace

DeepseekV2::DeepseekV2(Backend& backend, const ModelConfig& config, const ModelOptions& options)
    : backend_(backend),
      config_(config),
      options_(options),
      rounding_(rounding_of(options.activation_dtype)),
      scale_(attention_scale(config)) {}

Result<std::unique_ptr<DeepseekV2>> DeepseekV2::load(Backend& backend, const Checkpoint& checkpoint,
                                                     const QuantDescription& description,
                                                     const ModelConfig& config, const ModelOptions& options,
                                                     ProgressSink* progress) {
  std::unique_ptr<DeepseekV2> model(new DeepseekV2(backend, config, options));
  FATHOM_CHECK(options.sharding.num_ranks == (options.communicator ? options.communicator->size() : 1),
               "{} ranks", options.sharding.num_ranks);
  const NodeLayout* layout = options.communicator ? &options.communicator->layout() : nullptr;
  const size_t ranks_here = layout ? layout->ranks_of(layout->node()).size() : 1;
  const WeightReading reading =
      choose_reading(checkpoint, options.sharding, static_cast<int64_t>(ranks_here));
  WeightLoader loader(backend, checkpoint, description, config, options.sharding, reading, progress);
  FATHOM_ASSIGN_OR_RETURN(model->weights_, loader.load());
  FATHOM_RETURN_IF_ERROR(model->allocate_activations());
  return model;
}

Status DeepseekV2::allocate_activations() {
  const auto allocate = [this](DeviceBuffer& buffer, int64_t rows, int64_t width) -> Status {
    FATHOM_ASSIGN_OR_RETURN(buffer, backend_.allocate(static_cast<size_t>(rows * width) * sizeof(float)));
    return ok_status();
  };
  const int64_t tokens = options_.max_tokens;
  const int64_t heads = num_local_heads();
  const int64_t query_dim = config_.qk_nope_head_dim + config_.qk_rope_head_dim;
  FATHOM_RETURN_IF_ERROR(allocate(hidden_, tokens, config_.hidden_size));
  if (config_.q_lora_rank) FATHOM_RETURN_IF_ERROR(allocate(q_lora_, tokens, *config_.q_lora_rank));
  FATHOM_RETURN_IF_ERROR(allocate(q_, tokens, heads * query_dim));
  FATHOM_RETURN_IF_ERROR(allocate(kv_a_, tokens, config_.kv_lora_rank + config_.qk_rope_head_dim));
  FATHOM_RETURN_IF_ERROR(allocate(attended_, tokens, heads * config_.v_head_dim));
  if (options_.sharding.is_sliced())
    FATHOM_RETURN_IF_ERROR(
        allocate(partials_, tokens, options_.sharding.num_partial_sums() * config_.hidden_size));
  FATHOM_RETURN_IF_ERROR(allocate(logits_, options_.max_logits_rows, config_.vocab_size));
  if (options_.communicator != nullptr) {
    FATHOM_RETURN_IF_ERROR(
        allocate(gathered_logits_, options_.sharding.num_ranks, gathered_stride(options_.max_logits_rows)));
  }
  const std::vector<float> tables = rope_tables(config_, options_.max_positions);
  const size_t bytes = tables.size() * sizeof(float);
  FATHOM_ASSIGN_OR_RETURN(rope_storage_, backend_.allocate(bytes));
  FATHOM_RETURN_IF_ERROR(backend_.upload(tables.data(), rope_storage_.data(), bytes));
  rope_.cosines = rope_storage_.floats();
  rope_.sines = rope_.cosines + tables.size() / 2;
  return ok_status();
}

Norm DeepseekV2::norm(const VectorWeight& weight) const {
  return {.weight = &weight, .eps = static_cast<float>(config_.rms_norm_eps)};
}

void DeepseekV2::project(const float* x, const Norm& norm, std::span<const Projection> outputs) {
  backend_.project(
      {.x = x, .norm = norm, .outputs = outputs, .num_tokens = own_rows_.size(), .rounding = rounding_});
}

// q = q_proj(x), or q_b_proj(norm(q_a_proj(x))), [T, H, n + r] before rotation; kv_a = kv_a_proj_with_mqa(x);
// x the normed residual.
void DeepseekV2::query_and_latent(const LayerWeights& layer) {
  const AttentionWeights& weights = layer.attention;
  const Projection latent{
      .weight = &weights.kv_a_proj, .bias = bias_or_null(weights.kv_a_bias), .y = kv_a_.floats()};
  if (!config_.q_lora_rank) {
    const Projection query{.weight = &weights.q_proj, .y = q_.floats()};
    project(own_hidden(), norm(layer.input_norm), std::array{query, latent});
    return;
  }
  const Projection reduced{
      .weight = &weights.q_a_proj, .bias = bias_or_null(weights.q_a_bias), .y = q_lora_.floats()};
  project(own_hidden(), norm(layer.input_norm), std::array{reduced, latent});
  const Projection query{.weight = &weights.q_b_proj, .y = q_.floats()};
  project(q_lora_.floats(), {.weight = &weights.q_a_norm, .eps = kLoraNormEps}, {&query, 1});
}

// hidden += o_proj(attention(norm(hidden)))
Status DeepseekV2::attention_block(const LayerWeights& layer, const LatentCacheView& cache) {
  if (own_rows_.size() > 0) {
    attend(layer, cache);
    output_projection(layer.attention);
  }
  if (options_.sharding.shares_sequences()) return share_rows();
  return options_.sharding.is_sliced() ? add_sum_of_ranks() : ok_status();
}

// attended = attention(norm(hidden)), of this rank's rows and heads
void DeepseekV2::attend(const LayerWeights& layer, const LatentCacheView& cache) {
  const AttentionWeights& weights = layer.attention;
  query_and_latent(layer);
  backend_.store_latent({.q = q_.floats(),
                         .kv_a = kv_a_.floats(),
                         .norm = {.weight = &weights.kv_a_norm, .eps = kLoraNormEps},
                         .tables = rope_,
                         .cache = cache,
                         .num_heads = num_local_heads(),
                         .nope_dim = config_.qk_nope_head_dim});
  backend_.attend({.q = q_.floats(),
                   .kv_b = &weights.kv_b_proj,
                   .out = attended_.floats(),
                   .cache = cache,
                   .num_heads = num_local_heads(),
                   .nope_dim = config_.qk_nope_head_dim,
                   .v_dim = config_.v_head_dim,
                   .scale = scale_,
                   .rounding = rounding_});
}

// hidden += o_proj(attended) where this rank has all heads, else partial(0) = o_proj(attended); of several
// slices the first adds the bias.
void DeepseekV2::output_projection(const AttentionWeights& weights) {
  const Sharding& sharding = options_.sharding;
  if (sharding.num_head_slices() == 1) {
    const Projection output{.weight = &weights.o_proj[0],
                            .bias = bias_or_null(weights.o_bias),
                            .y = own_hidden(),
                            .output = Projection::Output::kAdd};
    project(attended_.floats(), {}, {&output, 1});
    return;
  }
  const int64_t num_rows = own_rows_.size();
  const int64_t num_slices = sharding.head_slices().size();
  const int64_t width = num_local_heads() * config_.v_head_dim;
  for (int64_t i = 0; i < num_slices; ++i) {
    const bool is_first = sharding.head_slices().begin + i == 0;
    const Projection output{.weight = &weights.o_proj[static_cast<size_t>(i)],
                            .bias = is_first ? bias_or_null(weights.o_bias) : nullptr,
                            .y = partial(i, num_rows)};
    backend_.project({.x = attended_.floats() + i * (width / num_slices),
                      .x_stride = width,
                      .norm = {},
                      .outputs = {&output, 1},
                      .num_tokens = num_rows,
                      .rounding = rounding_});
  }
  sum_partials(0, num_slices, num_rows);
  if (sharding.shares_sequences()) backend_.add(partial(0, num_rows), own_hidden(), floats_of(num_rows));
}

Status DeepseekV2::share_rows() {
  if (options_.communicator == nullptr) return ok_status();
  return options_.communicator->all_gather_parts(hidden_.data(), home_row_bytes_);
}

// hidden += network(norm(hidden)): dense, or routed and shared experts.
Status DeepseekV2::feed_forward_block(const LayerWeights& layer) {
  if (!options_.sharding.is_sliced()) {
    network_of(layer, layer.network[0], hidden_.floats());
    return ok_status();
  }
  for (int64_t i = 0; i < num_local_slices(); ++i) {
    backend_.clear(partial(i, num_tokens_), floats_of(num_tokens_));
    network_of(layer, layer.network[static_cast<size_t>(i)], partial(i, num_tokens_));
  }
  sum_partials(0, num_local_slices(), num_tokens_);
  return add_sum_of_ranks();
}

void DeepseekV2::network_of(const LayerWeights& layer, const NetworkSlice& network, float* sum) {
  const auto mlp = [&](const MlpWeights& weights) {
    backend_.mlp({.norm = norm(layer.post_attention_norm),
                  .weights = &weights,
                  .x = hidden_.floats(),
                  .residual = sum,
                  .num_tokens = num_tokens_,
                  .rounding = rounding_});
  };
  if (network.dense.present()) mlp(network.dense);
  const bool has_experts = std::any_of(network.experts.begin(), network.experts.end(),
                                       [](const MlpWeights& expert) { return expert.present(); });
  if (!has_experts) {
    if (network.shared.present()) mlp(network.shared);
    return;
  }
  const bool grouped = config_.topk_method == TopkMethod::kGroupLimitedGreedy;
  // The reference normalises only where there is more than one expert, and then does not scale.
  const bool normalized = config_.norm_topk_prob && config_.num_experts_per_tok > 1;
  backend_.moe({.norm = norm(layer.post_attention_norm),
                .routing = {.router = &layer.router,
                            .experts_per_token = config_.num_experts_per_tok,
                            .n_group = grouped ? config_.n_group : 1,
                            .topk_group = grouped ? config_.topk_group : 1,
                            .scaling = static_cast<float>(config_.routed_scaling_factor),
                            .weights = normalized ? kernels::RouterParams::Weights::kNormalized
                                                  : kernels::RouterParams::Weights::kScaled},
                .experts = network.experts,
                .shared = network.shared.present() ? &network.shared : nullptr,
                .x = hidden_.floats(),
                .residual = sum,
                .num_tokens = num_tokens_,
                .rounding = rounding_});
}

void DeepseekV2::sum_partials(int64_t begin, int64_t end, int64_t num_rows) {
  if (end - begin == 1) return;
  const int64_t middle = begin + static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(end - begin - 1)));
  sum_partials(begin, middle, num_rows);
  sum_partials(middle, end, num_rows);
  backend_.add(partial(middle, num_rows), partial(begin, num_rows), floats_of(num_rows));
}

// A rank's slices are as many as a power of two, so that they are whole branches of the tree over all.
Status DeepseekV2::add_sum_of_ranks() {
  float* sum = partial(0, num_tokens_);
  FATHOM_RETURN_IF_ERROR(reduce(sum, floats_of(num_tokens_)));
  backend_.add(sum, hidden_.floats(), floats_of(num_tokens_));
  return ok_status();
}

Status DeepseekV2::reduce(float* values, int64_t count) {
  if (options_.communicator == nullptr) return ok_status();
  return options_.communicator->all_reduce_sum(values, count);
}

Result<const float*> DeepseekV2::forward(const Batch& batch, const LatentCache& cache) {
  num_tokens_ = batch.num_tokens();
  const auto num_logits = static_cast<int64_t>(batch.logits_rows.size());
  FATHOM_CHECK(num_tokens_ > 0 && num_tokens_ <= options_.max_tokens, "T {} of {}", num_tokens_,
               options_.max_tokens);
  FATHOM_CHECK(num_logits <= options_.max_logits_rows, "{} rows of {}", num_logits, options_.max_logits_rows);
  for (size_t t = 0; t < batch.token_ids.size(); ++t) {
    FATHOM_CHECK(batch.token_ids[t] >= 0 && batch.token_ids[t] < config_.vocab_size, "id {}",
                 batch.token_ids[t]);
    FATHOM_CHECK(batch.positions[t] < options_.max_positions, "position {}", batch.positions[t]);
  }
  FATHOM_RETURN_IF_ERROR(backend_.begin_step(batch));
  backend_.embed(weights_.embed_tokens, hidden_.floats());
  // One rank has a token, the others zeros.
  FATHOM_RETURN_IF_ERROR(reduce(hidden_.floats(), floats_of(num_tokens_)));
  FATHOM_RETURN_IF_ERROR(begin_attention(batch));
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(i)];
    FATHOM_RETURN_IF_ERROR(attention_block(layer, cache.layer(i)));
    FATHOM_RETURN_IF_ERROR(feed_forward_block(layer));
  }
  if (num_logits > 0) {
    if (options_.sharding.num_homes() > 1) FATHOM_RETURN_IF_ERROR(backend_.begin_step(batch));
    FATHOM_RETURN_IF_ERROR(head(num_logits));
  }
  return logits_.floats();
}

Status DeepseekV2::begin_attention(const Batch& batch) {
  own_rows_ = {0, num_tokens_};
  if (options_.sharding.num_homes() == 1) return ok_status();
  const std::span<const int32_t> homes = batch.home_starts;
  FATHOM_CHECK(std::ssize(homes) == options_.sharding.num_homes() + 1, "{} starts of {} homes", homes.size(),
               options_.sharding.num_homes());
  home_row_bytes_.clear();
  for (int32_t segment : homes) {
    const int64_t row = batch.starts[static_cast<size_t>(segment)];
    home_row_bytes_.push_back(static_cast<size_t>(floats_of(row)) * sizeof(float));
  }
  const auto rank = static_cast<size_t>(options_.sharding.rank);
  const auto first = static_cast<size_t>(homes[rank]);
  const auto count = static_cast<size_t>(homes[rank + 1]) - first;
  own_rows_ = {batch.starts[first], batch.starts[first + count]};
  if (count == 0) return ok_status();
  own_starts_.clear();
  for (int32_t start : batch.starts.subspan(first, count + 1))
    own_starts_.push_back(start - static_cast<int32_t>(own_rows_.begin));
  const auto row = static_cast<size_t>(own_rows_.begin);
  const auto num_rows = static_cast<size_t>(own_rows_.size());
  return backend_.begin_step({.token_ids = batch.token_ids.subspan(row, num_rows),
                              .positions = batch.positions.subspan(row, num_rows),
                              .slots = batch.slots.subspan(row, num_rows),
                              .starts = own_starts_,
                              .forms = batch.forms.subspan(first, count),
                              .page_tables = batch.page_tables,
                              .page_table_starts = batch.page_table_starts.subspan(first, count + 1),
                              .logits_rows = {}});
}

Result<const float*> DeepseekV2::more_logits(const Batch& batch) {
  const auto num_logits = static_cast<int64_t>(batch.logits_rows.size());
  FATHOM_CHECK(batch.num_tokens() == num_tokens_, "T {} after {}", batch.num_tokens(), num_tokens_);
  FATHOM_CHECK(num_logits > 0 && num_logits <= options_.max_logits_rows, "{} rows of {}", num_logits,
               options_.max_logits_rows);
  FATHOM_RETURN_IF_ERROR(backend_.begin_step(batch));
  FATHOM_RETURN_IF_ERROR(head(num_logits));
  return logits_.floats();
}

Status DeepseekV2::head(int64_t num_rows) {
  const bool alone = options_.communicator == nullptr;
  const int64_t own = options_.sharding.rank * gathered_stride(num_rows);
  backend_.head({.x = hidden_.floats(),
                 .norm = norm(weights_.final_norm),
                 .weight = &weights_.lm_head,
                 .logits = alone ? logits_.floats() : gathered_logits_.floats() + own,
                 .rounding = rounding_});
  return alone ? ok_status() : gather_logits(num_rows);
}

IndexRange DeepseekV2::vocabulary_share(int64_t rank) const {
  const Sharding& sharding = options_.sharding;
  const IndexRange slices =
      Sharding{.num_ranks = sharding.num_ranks, .rank = rank, .num_slices = sharding.num_slices}.slices();
  return {even_part(config_.vocab_size, 1, slices.begin, sharding.num_slices).begin,
          even_part(config_.vocab_size, 1, slices.end - 1, sharding.num_slices).end};
}

// Room for the largest share, rank 0's, and parts that begin at cache lines.
int64_t DeepseekV2::gathered_stride(int64_t num_rows) const {
  constexpr int64_t kLineFloats = 16;
  return round_up(num_rows * vocabulary_share(0).size(), kLineFloats);
}

Status DeepseekV2::gather_logits(int64_t num_rows) {
  const int64_t stride = gathered_stride(num_rows);
  std::vector<size_t> starts;
  for (int64_t rank = 0; rank <= options_.sharding.num_ranks; ++rank)
    starts.push_back(static_cast<size_t>(rank * stride) * sizeof(float));
  FATHOM_RETURN_IF_ERROR(options_.communicator->all_gather_parts(gathered_logits_.data(), starts));
  for (int64_t rank = 0; rank < options_.sharding.num_ranks; ++rank) {
    const IndexRange share = vocabulary_share(rank);
    backend_.copy_rows({.from = gathered_logits_.floats() + rank * stride,
                        .from_stride = share.size(),
                        .to = logits_.floats() + share.begin,
                        .to_stride = config_.vocab_size,
                        .num_rows = num_rows,
                        .width = share.size()});
  }
  return ok_status();
}

}  // namespace fathom
