#include "model/weight_table.h"

#include "base/check.h"

namespace fathom {
namespace {

using C = const ModelConfig&;

// Where the name stands: as it is, behind "model.layers.L.", or behind "model.layers.L.mlp.experts.E.".
enum class Place { kBeforeLayers, kLayer, kExpert, kAfterLayers };

struct RoleRule {
  WeightRole role;
  std::string_view label;
  std::string_view name;
  Place place;
  ShardAxis axis;
  WeightFormats formats;
  bool (*present)(C config, int64_t layer);
  Shape (*shape)(C config);
};

bool always(C, int64_t) { return true; }
bool without_q_lora(C c, int64_t) { return !c.q_lora_rank; }
bool with_q_lora(C c, int64_t) { return c.q_lora_rank.has_value(); }
bool with_q_a_bias(C c, int64_t) { return c.q_lora_rank && c.attention_bias; }
bool with_bias(C c, int64_t) { return c.attention_bias; }
bool is_dense(C c, int64_t layer) { return !c.is_moe_layer(layer); }
bool is_moe(C c, int64_t layer) { return c.is_moe_layer(layer); }
bool with_shared(C c, int64_t layer) { return c.is_moe_layer(layer) && c.n_shared_experts > 0; }
bool is_untied(C c, int64_t) { return !c.tie_word_embeddings; }

Shape hidden_vector(C c) { return {c.hidden_size}; }
Shape vocabulary(C c) { return {c.vocab_size, c.hidden_size}; }
Shape dense_in(C c) { return {c.intermediate_size, c.hidden_size}; }
Shape dense_out(C c) { return {c.hidden_size, c.intermediate_size}; }
Shape expert_in(C c) { return {c.moe_intermediate_size, c.hidden_size}; }
Shape expert_out(C c) { return {c.hidden_size, c.moe_intermediate_size}; }
Shape shared_in(C c) { return {c.shared_intermediate_size(), c.hidden_size}; }
Shape shared_out(C c) { return {c.hidden_size, c.shared_intermediate_size()}; }

constexpr ShardAxis kNone = ShardAxis::kNone;
constexpr ShardAxis kRows = ShardAxis::kRows;
constexpr ShardAxis kColumns = ShardAxis::kColumns;
constexpr WeightFormats kFloat = WeightFormats::kFloat;
constexpr WeightFormats kAny = WeightFormats::kFloatOrQuantized;

// In the order of the enumeration, which is also the order inside a layer. The norms of the compressed query
// and latent need the whole vector, so every rank computes it: q_a_proj and kv_a_proj are not shared out.
using R = WeightRole;
constexpr RoleRule kRoles[] = {
    {R::kEmbedTokens, "embed_tokens", "model.embed_tokens.weight", Place::kBeforeLayers, kRows, kFloat,
     always, vocabulary},
    {R::kInputNorm, "input_norm", "input_layernorm.weight", Place::kLayer, kNone, kFloat, always,
     hidden_vector},
    {R::kQProj, "q_proj", "self_attn.q_proj.weight", Place::kLayer, kRows, kAny, without_q_lora,
     [](C c) {
       return Shape{c.num_attention_heads * c.qk_head_dim(), c.hidden_size};
     }},
    {R::kQAProj, "q_a_proj", "self_attn.q_a_proj.weight", Place::kLayer, kNone, kAny, with_q_lora,
     [](C c) {
       return Shape{c.q_lora_rank.value_or(0), c.hidden_size};
     }},
    {R::kQABias, "q_a_bias", "self_attn.q_a_proj.bias", Place::kLayer, kNone, kFloat, with_q_a_bias,
     [](C c) { return Shape{c.q_lora_rank.value_or(0)}; }},
    {R::kQANorm, "q_a_norm", "self_attn.q_a_layernorm.weight", Place::kLayer, kNone, kFloat, with_q_lora,
     [](C c) { return Shape{c.q_lora_rank.value_or(0)}; }},
    {R::kQBProj, "q_b_proj", "self_attn.q_b_proj.weight", Place::kLayer, kRows, kAny, with_q_lora,
     [](C c) {
       return Shape{c.num_attention_heads * c.qk_head_dim(), c.q_lora_rank.value_or(0)};
     }},
    {R::kKvAProj, "kv_a_proj", "self_attn.kv_a_proj_with_mqa.weight", Place::kLayer, kNone, kAny, always,
     [](C c) {
       return Shape{c.cache_dim(), c.hidden_size};
     }},
    {R::kKvABias, "kv_a_bias", "self_attn.kv_a_proj_with_mqa.bias", Place::kLayer, kNone, kFloat, with_bias,
     [](C c) { return Shape{c.cache_dim()}; }},
    {R::kKvANorm, "kv_a_norm", "self_attn.kv_a_layernorm.weight", Place::kLayer, kNone, kFloat, always,
     [](C c) { return Shape{c.kv_lora_rank}; }},
    {R::kKvBProj, "kv_b_proj", "self_attn.kv_b_proj.weight", Place::kLayer, kRows, kFloat, always,
     [](C c) {
       return Shape{c.num_attention_heads * c.kv_head_dim(), c.kv_lora_rank};
     }},
    {R::kOProj, "o_proj", "self_attn.o_proj.weight", Place::kLayer, kColumns, kAny, always,
     [](C c) {
       return Shape{c.hidden_size, c.num_attention_heads * c.v_head_dim};
     }},
    {R::kOBias, "o_bias", "self_attn.o_proj.bias", Place::kLayer, kNone, kFloat, with_bias, hidden_vector},
    {R::kPostAttentionNorm, "post_attention_norm", "post_attention_layernorm.weight", Place::kLayer, kNone,
     kFloat, always, hidden_vector},
    {R::kDenseGate, "dense_gate", "mlp.gate_proj.weight", Place::kLayer, kRows, kAny, is_dense, dense_in},
    {R::kDenseUp, "dense_up", "mlp.up_proj.weight", Place::kLayer, kRows, kAny, is_dense, dense_in},
    {R::kDenseDown, "dense_down", "mlp.down_proj.weight", Place::kLayer, kColumns, kAny, is_dense, dense_out},
    {R::kRouter, "router", "mlp.gate.weight", Place::kLayer, kNone, kFloat, is_moe,
     [](C c) {
       return Shape{c.n_routed_experts, c.hidden_size};
     }},
    {R::kSharedGate, "shared_gate", "mlp.shared_experts.gate_proj.weight", Place::kLayer, kRows, kAny,
     with_shared, shared_in},
    {R::kSharedUp, "shared_up", "mlp.shared_experts.up_proj.weight", Place::kLayer, kRows, kAny, with_shared,
     shared_in},
    {R::kSharedDown, "shared_down", "mlp.shared_experts.down_proj.weight", Place::kLayer, kColumns, kAny,
     with_shared, shared_out},
    {R::kExpertGate, "expert_gate", "gate_proj.weight", Place::kExpert, kRows, kAny, is_moe, expert_in},
    {R::kExpertUp, "expert_up", "up_proj.weight", Place::kExpert, kRows, kAny, is_moe, expert_in},
    {R::kExpertDown, "expert_down", "down_proj.weight", Place::kExpert, kColumns, kAny, is_moe, expert_out},
    {R::kFinalNorm, "final_norm", "model.norm.weight", Place::kAfterLayers, kNone, kFloat, always,
     hidden_vector},
    {R::kLmHead, "lm_head", "lm_head.weight", Place::kAfterLayers, kRows, kAny, is_untied, vocabulary},
};
static_assert(std::size(kRoles) == kNumWeightRoles);

const RoleRule& rule_of(WeightRole role) {
  const RoleRule& rule = kRoles[static_cast<size_t>(role)];
  FATHOM_DCHECK(rule.role == role, "role {}", static_cast<int>(role));
  return rule;
}

// Adds the roles of one place that the layer has.
void add_weights(C config, Place place, int64_t layer, int64_t expert, std::vector<WeightSpec>& table) {
  for (const RoleRule& rule : kRoles) {
    if (rule.place != place || !rule.present(config, layer)) continue;
    table.push_back({weight_name(rule.role, layer, expert), rule.role, static_cast<int32_t>(layer),
                     static_cast<int32_t>(expert), rule.axis, rule.formats, rule.shape(config)});
  }
}

}  // namespace

std::string_view role_name(WeightRole role) { return rule_of(role).label; }

std::optional<WeightRole> role_from_name(std::string_view name) {
  for (const RoleRule& rule : kRoles)
    if (rule.label == name) return rule.role;
  return std::nullopt;
}

WeightFormats role_formats(WeightRole role) { return rule_of(role).formats; }

std::string weight_name(WeightRole role, int64_t layer, int64_t expert) {
  const RoleRule& rule = rule_of(role);
  if (rule.place == Place::kLayer) return fmt::format("model.layers.{}.{}", layer, rule.name);
  if (rule.place == Place::kExpert)
    return fmt::format("model.layers.{}.mlp.experts.{}.{}", layer, expert, rule.name);
  return std::string(rule.name);
}

std::vector<WeightSpec> weight_table(const ModelConfig& config) {
  std::vector<WeightSpec> table;
  add_weights(config, Place::kBeforeLayers, -1, -1, table);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    add_weights(config, Place::kLayer, layer, -1, table);
    const int64_t num_experts = config.is_moe_layer(layer) ? config.n_routed_experts : 0;
    for (int64_t expert = 0; expert < num_experts; ++expert)
      add_weights(config, Place::kExpert, layer, expert, table);
  }
  add_weights(config, Place::kAfterLayers, -1, -1, table);
  return table;
}

QuantType default_quant_type(const ModelConfig& config, const WeightSpec& spec) {
  const auto base = config.quantize;
  if (!base || spec.formats == WeightFormats::kFloat || spec.role == WeightRole::kLmHead)
    return QuantType::kFloat;
  if (WeightRole::kQProj <= spec.role && spec.role <= WeightRole::kOProj)
    return config.mla_quantize.value_or(*base);
  return spec.expert >= 0 ? config.moe_quantize.value_or(*base) : *base;
}

}  // namespace fathom
