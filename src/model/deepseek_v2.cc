#include "model/deepseek_v2.h"

#include <array>

#include "base/check.h"
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
  WeightLoader loader(backend, checkpoint, description, config, choose_reading(checkpoint), progress);
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
  const int64_t heads = config_.num_attention_heads;
  const int64_t query_dim = config_.qk_nope_head_dim + config_.qk_rope_head_dim;
  FATHOM_RETURN_IF_ERROR(allocate(hidden_, tokens, config_.hidden_size));
  if (config_.q_lora_rank) FATHOM_RETURN_IF_ERROR(allocate(q_lora_, tokens, *config_.q_lora_rank));
  FATHOM_RETURN_IF_ERROR(allocate(q_, tokens, heads * query_dim));
  FATHOM_RETURN_IF_ERROR(allocate(kv_a_, tokens, config_.kv_lora_rank + config_.qk_rope_head_dim));
  FATHOM_RETURN_IF_ERROR(allocate(attended_, tokens, heads * config_.v_head_dim));
  FATHOM_RETURN_IF_ERROR(allocate(logits_, options_.max_logits_rows, config_.vocab_size));
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
      {.x = x, .norm = norm, .outputs = outputs, .num_tokens = num_tokens_, .rounding = rounding_});
}

// q = q_proj(x), or q_b_proj(norm(q_a_proj(x))), [T, H, n + r] before rotation; kv_a = kv_a_proj_with_mqa(x);
// x the normed residual.
void DeepseekV2::query_and_latent(const LayerWeights& layer) {
  const AttentionWeights& weights = layer.attention;
  const Projection latent{
      .weight = &weights.kv_a_proj, .bias = bias_or_null(weights.kv_a_bias), .y = kv_a_.floats()};
  if (!config_.q_lora_rank) {
    const Projection query{.weight = &weights.q_proj, .y = q_.floats()};
    project(hidden_.floats(), norm(layer.input_norm), std::array{query, latent});
    return;
  }
  const Projection reduced{
      .weight = &weights.q_a_proj, .bias = bias_or_null(weights.q_a_bias), .y = q_lora_.floats()};
  project(hidden_.floats(), norm(layer.input_norm), std::array{reduced, latent});
  const Projection query{.weight = &weights.q_b_proj, .y = q_.floats()};
  project(q_lora_.floats(), {.weight = &weights.q_a_norm, .eps = kLoraNormEps}, {&query, 1});
}

// hidden += o_proj(attention(norm(hidden)))
void DeepseekV2::attention_block(const LayerWeights& layer, const LatentCacheView& cache) {
  const AttentionWeights& weights = layer.attention;
  query_and_latent(layer);
  backend_.store_latent({.q = q_.floats(),
                         .kv_a = kv_a_.floats(),
                         .norm = {.weight = &weights.kv_a_norm, .eps = kLoraNormEps},
                         .tables = rope_,
                         .cache = cache,
                         .num_heads = config_.num_attention_heads,
                         .nope_dim = config_.qk_nope_head_dim});
  backend_.attend({.q = q_.floats(),
                   .kv_b = &weights.kv_b_proj,
                   .out = attended_.floats(),
                   .cache = cache,
                   .num_heads = config_.num_attention_heads,
                   .nope_dim = config_.qk_nope_head_dim,
                   .v_dim = config_.v_head_dim,
                   .scale = scale_,
                   .rounding = rounding_});
  const Projection output{.weight = &weights.o_proj,
                          .bias = bias_or_null(weights.o_bias),
                          .y = hidden_.floats(),
                          .output = Projection::Output::kAdd};
  project(attended_.floats(), {}, {&output, 1});
}

// hidden += network(norm(hidden)): dense, or routed and shared experts.
void DeepseekV2::feed_forward_block(const LayerWeights& layer) {
  if (layer.experts.empty()) {
    backend_.mlp({.norm = norm(layer.post_attention_norm),
                  .weights = &layer.dense,
                  .residual = hidden_.floats(),
                  .num_tokens = num_tokens_,
                  .rounding = rounding_});
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
                .experts = layer.experts,
                .shared = layer.shared.present() ? &layer.shared : nullptr,
                .residual = hidden_.floats(),
                .num_tokens = num_tokens_,
                .rounding = rounding_});
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
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(i)];
    attention_block(layer, cache.layer(i));
    feed_forward_block(layer);
    if (observer_) observer_(i, hidden_.floats());
  }
  if (num_logits > 0) head();
  return logits_.floats();
}

Result<const float*> DeepseekV2::more_logits(const Batch& batch) {
  const auto num_logits = static_cast<int64_t>(batch.logits_rows.size());
  FATHOM_CHECK(batch.num_tokens() == num_tokens_, "T {} after {}", batch.num_tokens(), num_tokens_);
  FATHOM_CHECK(num_logits > 0 && num_logits <= options_.max_logits_rows, "{} rows of {}", num_logits,
               options_.max_logits_rows);
  FATHOM_RETURN_IF_ERROR(backend_.begin_step(batch));
  head();
  return logits_.floats();
}

void DeepseekV2::head() {
  backend_.head({.x = hidden_.floats(),
                 .norm = norm(weights_.final_norm),
                 .weight = &weights_.lm_head,
                 .logits = logits_.floats(),
                 .rounding = rounding_});
}

}  // namespace fathom
