#include "checkpoint/model_config.h"

#include <algorithm>

#include "base/file.h"
#include "checkpoint/field_rules.h"

namespace fathom {
namespace {

constexpr JsonLimits kConfigLimits{.max_bytes = size_t{1} << 20, .max_depth = 128};

using C = ModelConfig;
constexpr Presence kRequired = Presence::kRequired;
constexpr Presence kOptional = Presence::kOptional;

// The ranges leave two powers of two or more above the largest released model.
constexpr FieldRule<ModelConfig> kModelRules[] = {
    {"vocab_size", &C::vocab_size, kRequired, 1, 4194304},
    {"hidden_size", &C::hidden_size, kRequired, 1, 1048576},
    {"num_hidden_layers", &C::num_hidden_layers, kRequired, 1, 1024},
    {"num_attention_heads", &C::num_attention_heads, kRequired, 1, 4096},
    {"num_key_value_heads", &C::num_key_value_heads, kOptional, 1, 4096},
    {"q_lora_rank", &C::q_lora_rank, kOptional, 1, 65536},
    {"kv_lora_rank", &C::kv_lora_rank, kRequired, 1, 65536},
    {"qk_nope_head_dim", &C::qk_nope_head_dim, kRequired, 1, 4096},
    {"qk_rope_head_dim", &C::qk_rope_head_dim, kRequired, 2, 4096},
    {"v_head_dim", &C::v_head_dim, kRequired, 1, 4096},
    {"attention_bias", &C::attention_bias, kOptional},
    {"intermediate_size", &C::intermediate_size, kRequired, 1, 1048576},
    {"n_routed_experts", &C::n_routed_experts, kOptional, 0, 4096},
    {"moe_intermediate_size", &C::moe_intermediate_size, kOptional, 1, 1048576},
    {"n_shared_experts", &C::n_shared_experts, kOptional, 0, 256},
    {"num_experts_per_tok", &C::num_experts_per_tok, kOptional, 1, 4096},
    {"first_k_dense_replace", &C::first_k_dense_replace, kOptional, 0, 1024},
    {"moe_layer_freq", &C::moe_layer_freq, kOptional, 1, 1024},
    {"n_group", &C::n_group, kOptional, 1, 4096},
    {"topk_group", &C::topk_group, kOptional, 1, 4096},
    {"norm_topk_prob", &C::norm_topk_prob, kOptional},
    {"routed_scaling_factor", &C::routed_scaling_factor, kOptional, 1e-4, 1e4},
    {"rms_norm_eps", &C::rms_norm_eps, kOptional, 1e-12, 0.1},
    {"max_position_embeddings", &C::max_position_embeddings, kOptional, 1, 16777216},
    {"tie_word_embeddings", &C::tie_word_embeddings, kOptional},
};

using Y = YarnScaling;
constexpr FieldRule<YarnScaling> kYarnRules[] = {
    {"factor", &Y::factor, kRequired, 1, 65536},
    {"original_max_position_embeddings", &Y::original_max_position_embeddings, kOptional, 1, 16777216},
    {"beta_fast", &Y::beta_fast, kOptional, 1e-3, 1e6},
    {"beta_slow", &Y::beta_slow, kOptional, 1e-3, 1e6},
    {"mscale", &Y::mscale, kOptional, 0, 100},
    {"mscale_all_dim", &Y::mscale_all_dim, kOptional, 0, 100},
};

// Beside the rope keys in older files, inside rope_parameters in newer ones.
constexpr FieldRule<ModelConfig> kThetaRules[] = {{"rope_theta", &C::rope_theta, kOptional, 2, 1e12}};

// The string value of a key, or fallback where it is absent or null.
Result<std::string> text_field(const Json& object, const std::string& where, const char* key,
                               const char* fallback) {
  const Json* value = find_field(object, key);
  if (value == nullptr) return std::string(fallback);
  auto text = read_string(*value);
  if (!text.ok()) return text.status().with_context(where + key);
  return text;
}

Status check_model_kind(const Json& json, const std::string& where) {
  FATHOM_ASSIGN_OR_RETURN(const std::string type, text_field(json, where, "model_type", ""));
  if (type.empty()) return invalid_data("{}model_type: is missing, expected \"deepseek_v2\"", where);
  if (type != "deepseek_v2" && type != "deepseekv2") {
    return unsupported("{}model_type: {} is not supported, expected \"deepseek_v2\"", where,
                       show_json(json["model_type"]));
  }
  FATHOM_ASSIGN_OR_RETURN(const std::string act, text_field(json, where, "hidden_act", "silu"));
  if (act != "silu")
    return unsupported("{}hidden_act: {} is not supported, expected \"silu\"", where, show_json(act));
  FATHOM_ASSIGN_OR_RETURN(const std::string scoring, text_field(json, where, "scoring_func", "softmax"));
  if (scoring != "softmax") {
    return unsupported("{}scoring_func: {} is not supported, expected \"softmax\"", where,
                       show_json(scoring));
  }
  return ok_status();
}

Status read_topk_method(const Json& json, const std::string& where, ModelConfig& config) {
  FATHOM_ASSIGN_OR_RETURN(const std::string method, text_field(json, where, "topk_method", "greedy"));
  if (method == "greedy" || method == "gready") {
    config.topk_method = TopkMethod::kGreedy;
  } else if (method == "group_limited_greedy") {
    config.topk_method = TopkMethod::kGroupLimitedGreedy;
  } else {
    return unsupported("{}topk_method: {} is not supported, expected \"greedy\" or \"group_limited_greedy\"",
                       where, show_json(method));
  }
  return ok_status();
}

// torch_dtype, or dtype as newer files spell it.
Status read_torch_dtype(const Json& json, const std::string& where, ModelConfig& config) {
  const char* key = find_field(json, "torch_dtype") != nullptr ? "torch_dtype" : "dtype";
  FATHOM_ASSIGN_OR_RETURN(const std::string name, text_field(json, where, key, "bfloat16"));
  const auto dtype = dtype_from_torch(name);
  if (!dtype || !is_floating(*dtype)) {
    return unsupported("{}{}: {} is not supported, expected \"bfloat16\", \"float16\" or \"float32\"", where,
                       key, show_json(name));
  }
  config.torch_dtype = *dtype;
  return ok_status();
}

struct QuantizeRule {
  const char* key;
  std::optional<QuantType> C::*member;
};
constexpr QuantizeRule kQuantizeRules[] = {
    {"quantize", &C::quantize}, {"mla_quantize", &C::mla_quantize}, {"moe_quantize", &C::moe_quantize}};

// An empty string means the same as no key. quantization_config is another tool's if it names its method;
// ours tells in it how the cache was calibrated, which does not matter here.
Status read_quantize(const Json& json, const std::string& where, ModelConfig& config) {
  for (const QuantizeRule& rule : kQuantizeRules) {
    FATHOM_ASSIGN_OR_RETURN(const std::string name, text_field(json, where, rule.key, ""));
    if (name.empty()) continue;
    config.*rule.member = quant_type_from_config(name);
    if (config.*rule.member) continue;
    return unsupported(
        "{}{}: {} is not supported, expected \"w8a16\", \"w8a8_dynamic\", \"w4a16\" or \"w4a8_dynamic\"",
        where, rule.key, show_json(name));
  }
  const Json* other = find_field(json, "quantization_config");
  if (other == nullptr) return ok_status();
  if (!other->is_object())
    return invalid_data("{}quantization_config: {} is not an object", where, show_json(*other));
  if (const Json* method = find_field(*other, "quant_method")) {
    return unsupported("{}quantization_config.quant_method: {} is not supported, use the float checkpoint",
                       where, show_json(*method));
  }
  return ok_status();
}

// rope_parameters (newer files, with rope_theta inside) or rope_scaling. The type stands under rope_type or
// type.
Status read_rope(const Json& json, const std::string& where, ModelConfig& config) {
  const char* key = find_field(json, "rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  const Json* rope = find_field(json, key);
  if (rope == nullptr) return ok_status();
  if (!rope->is_object()) return invalid_data("{}{}: {} is not an object", where, key, show_json(*rope));
  const std::string inner = where + key + ".";
  FATHOM_RETURN_IF_ERROR(read_fields<ModelConfig>(*rope, inner, kThetaRules, config));
  FATHOM_ASSIGN_OR_RETURN(const std::string old_type, text_field(*rope, inner, "type", ""));
  FATHOM_ASSIGN_OR_RETURN(const std::string type, text_field(*rope, inner, "rope_type", old_type.c_str()));
  if (!old_type.empty() && old_type != type) {
    return invalid_data("{}rope_type: {} differs from type {}", inner, show_json(type), show_json(old_type));
  }
  if (type == "default" || (type.empty() && find_field(*rope, "factor") == nullptr)) return ok_status();
  if (type.empty()) return invalid_data("{}type: is missing, expected \"yarn\"", inner);
  if (type != "yarn") {
    return unsupported("{}type: {} is not supported, expected \"yarn\" or \"default\"", inner,
                       show_json(type));
  }
  YarnScaling yarn;
  FATHOM_RETURN_IF_ERROR(read_fields<YarnScaling>(*rope, inner, kYarnRules, yarn));
  if (yarn.beta_fast < yarn.beta_slow) {
    return invalid_data("{}beta_fast: {} is below beta_slow {}", inner, yarn.beta_fast, yarn.beta_slow);
  }
  config.rope_scaling = yarn;
  return ok_status();
}

Status read_token_ids(const Json& json, const std::string& where, ModelConfig& config) {
  const double last_id = static_cast<double>(config.vocab_size - 1);
  if (const Json* bos = find_field(json, "bos_token_id")) {
    const auto id = read_integer(*bos, 0, last_id);
    if (!id.ok()) return id.status().with_context(where + "bos_token_id");
    config.bos_token_id = *id;
  }
  auto ids = read_token_id_list(find_field(json, "eos_token_id"), config.vocab_size);
  if (!ids.ok()) return ids.status().with_context(where + "eos_token_id");
  config.eos_token_ids = *ids;
  return ok_status();
}

Status check_experts(const Json& json, const std::string& where, const ModelConfig& c) {
  if (c.n_routed_experts == 0) return ok_status();
  for (const char* key : {"moe_intermediate_size", "num_experts_per_tok"}) {
    if (find_field(json, key) == nullptr) {
      return invalid_data("{}{}: is missing, needed with n_routed_experts {}", where, key,
                          c.n_routed_experts);
    }
  }
  int64_t choosable = c.n_routed_experts;
  if (c.topk_method == TopkMethod::kGroupLimitedGreedy) {
    if (c.n_routed_experts % c.n_group != 0) {
      return invalid_data("{}n_group: {} does not divide n_routed_experts {}", where, c.n_group,
                          c.n_routed_experts);
    }
    if (c.topk_group > c.n_group) {
      return invalid_data("{}topk_group: {} is above n_group {}", where, c.topk_group, c.n_group);
    }
    choosable = c.n_routed_experts / c.n_group * c.topk_group;
  }
  if (c.num_experts_per_tok > choosable) {
    return invalid_data("{}num_experts_per_tok: {} is above the {} experts to choose from", where,
                        c.num_experts_per_tok, choosable);
  }
  return ok_status();
}

// An upper bound of the parameters of one layer of each kind; in floating point, where nothing overflows.
double parameters_bound(const ModelConfig& c) {
  const auto d = [](int64_t x) { return static_cast<double>(x); };
  const double heads = d(c.num_attention_heads);
  const double attention =
      heads * d(c.qk_head_dim()) * d(std::max(c.hidden_size, c.q_lora_rank.value_or(0))) +
      d(c.q_lora_rank.value_or(0) + c.cache_dim()) * d(c.hidden_size) +
      heads * d(c.kv_head_dim()) * d(c.kv_lora_rank) + heads * d(c.v_head_dim * c.hidden_size);
  const double experts = d(c.n_routed_experts + c.n_shared_experts) * d(c.moe_intermediate_size);
  const double mlp =
      3 * d(c.hidden_size) * (experts + d(c.intermediate_size)) + d(c.n_routed_experts * c.hidden_size);
  return d(c.num_hidden_layers) * (attention + mlp) + 2 * d(c.vocab_size) * d(c.hidden_size);
}

Status check_sizes(const std::string& where, const ModelConfig& c) {
  if (c.qk_rope_head_dim % 2 != 0) {
    return invalid_data("{}qk_rope_head_dim: {} is odd, rotation needs pairs", where, c.qk_rope_head_dim);
  }
  if (c.num_key_value_heads != c.num_attention_heads) {
    return unsupported("{}num_key_value_heads: {} differs from num_attention_heads {}", where,
                       c.num_key_value_heads, c.num_attention_heads);
  }
  const int64_t tensors = c.num_hidden_layers * (c.n_routed_experts + 8) * 3;
  if (tensors > kMaxModelTensors) {
    return invalid_data("{}num_hidden_layers: {} with n_routed_experts {} make over {} tensors", where,
                        c.num_hidden_layers, c.n_routed_experts, kMaxModelTensors);
  }
  const double parameters = parameters_bound(c);
  if (parameters > static_cast<double>(kMaxModelParameters)) {
    return invalid_data("{}the sizes make {:.3g} parameters, over the limit of {:.3g}", where, parameters,
                        static_cast<double>(kMaxModelParameters));
  }
  return ok_status();
}

}  // namespace

Result<ModelConfig> parse_model_config(const Json& json, const std::string& name) {
  if (!json.is_object()) return invalid_data("{}: not a JSON object", name);
  const std::string where = name + ": ";
  FATHOM_RETURN_IF_ERROR(check_model_kind(json, where));
  ModelConfig config;
  FATHOM_RETURN_IF_ERROR(read_fields<ModelConfig>(json, where, kModelRules, config));
  FATHOM_RETURN_IF_ERROR(read_fields<ModelConfig>(json, where, kThetaRules, config));
  if (find_field(json, "num_key_value_heads") == nullptr)
    config.num_key_value_heads = config.num_attention_heads;
  FATHOM_RETURN_IF_ERROR(read_topk_method(json, where, config));
  FATHOM_RETURN_IF_ERROR(read_torch_dtype(json, where, config));
  FATHOM_RETURN_IF_ERROR(read_rope(json, where, config));
  FATHOM_RETURN_IF_ERROR(read_quantize(json, where, config));
  FATHOM_RETURN_IF_ERROR(read_token_ids(json, where, config));
  FATHOM_RETURN_IF_ERROR(check_experts(json, where, config));
  FATHOM_RETURN_IF_ERROR(check_sizes(where, config));
  return config;
}

Result<ModelConfig> load_model_config(const std::string& directory) {
  if (!directory_exists(directory)) return not_found("{}: no such folder", directory);
  const std::string path = join_path(directory, "config.json");
  auto json = read_json_file(path, kConfigLimits);
  if (!json.ok() && json.status().code() == ErrorCode::kNotFound) {
    return not_found("{}: has no config.json, so it is not a model folder", directory);
  }
  if (!json.ok()) return json.status();
  return parse_model_config(*json, path);
}

Json to_json(const ModelConfig& config) {
  Json json = {{"architectures", Json::array({"DeepseekV2ForCausalLM"})}, {"model_type", "deepseek_v2"}};
  write_fields<ModelConfig>(config, kModelRules, json);
  write_fields<ModelConfig>(config, kThetaRules, json);
  json["topk_method"] = config.topk_method == TopkMethod::kGreedy ? "greedy" : "group_limited_greedy";
  json["scoring_func"] = "softmax";
  json["hidden_act"] = "silu";
  json["torch_dtype"] = torch_name(config.torch_dtype);
  json["rope_scaling"] = nullptr;
  if (config.rope_scaling) {
    Json yarn = {{"type", "yarn"}};
    write_fields<YarnScaling>(*config.rope_scaling, kYarnRules, yarn);
    json["rope_scaling"] = std::move(yarn);
  }
  // Without experts their sizes stay 0, which no reader of these keys expects.
  for (const char* key :
       {"n_routed_experts", "moe_intermediate_size", "n_shared_experts", "num_experts_per_tok"}) {
    if (json[key] == 0) json[key] = nullptr;
  }
  for (const QuantizeRule& rule : kQuantizeRules) {
    if (const auto type = config.*rule.member) json[rule.key] = quant_type_name(*type);
  }
  if (config.bos_token_id) json["bos_token_id"] = *config.bos_token_id;
  if (config.eos_token_ids.size() == 1) {
    json["eos_token_id"] = config.eos_token_ids[0];
  } else if (!config.eos_token_ids.empty()) {
    json["eos_token_id"] = config.eos_token_ids;
  }
  return json;
}

}  // namespace fathom
