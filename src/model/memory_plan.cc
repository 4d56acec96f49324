#include "model/memory_plan.h"

#include <algorithm>
#include <functional>

#include "base/check.h"
#include "base/checked_math.h"
#include "kernels/packed.h"
#include "model/stored_weight.h"

namespace fathom {
namespace {

// Of a GPU: what kernels bring with them, steps as graphs, a long prompt's expanded keys and values, the rest
// of the last block of weights.
constexpr uint64_t kDeviceBytes = uint64_t{1} << 30;
constexpr uint64_t kProcessBytes = uint64_t{64} << 20;  // program, libraries, tokenizer, stacks

double gib(uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(uint64_t{1} << 30); }

// A sum of products that stops at the largest int64 instead of wrapping.
uint64_t saturating_product(std::initializer_list<int64_t> factors) {
  const auto product = checked_product(std::span(factors.begin(), factors.size()));
  return product ? std::min<uint64_t>(*product, INT64_MAX) : INT64_MAX;
}
uint64_t saturating_sum(std::initializer_list<uint64_t> terms) {
  uint64_t sum = 0;
  for (uint64_t term : terms) sum = std::min<uint64_t>(checked_add(sum, term).value_or(INT64_MAX), INT64_MAX);
  return sum;
}

// How one weight is stored.
struct Format {
  DType dtype;
  QuantType type;
  uint64_t bytes;  // with scales and factors
};

// A weight before it is quantised says nothing of its group size: this is the default of the commands.
constexpr int64_t kPlannedGroupSize = 64;

Format planned_format(const ModelConfig& config, const WeightSpec& spec) {
  const QuantType type = default_quant_type(config, spec);
  const int64_t num_elements = spec.shape.num_elements();
  if (type == QuantType::kFloat)
    return {config.torch_dtype, type, static_cast<uint64_t>(num_elements) * dtype_bytes(config.torch_dtype)};
  const auto scale_bytes = static_cast<uint64_t>(spec.shape[0]) * sizeof(float);
  if (!is_int4(type)) return {DType::kInt8, type, static_cast<uint64_t>(num_elements) + scale_bytes};
  const int64_t factors = spec.shape[0] * num_groups(spec.shape[1], kPlannedGroupSize);
  return {DType::kUint8, type, static_cast<uint64_t>(ceil_div(num_elements, 2) + factors) + scale_bytes};
}

Format stored_format(const Checkpoint& checkpoint, const QuantDescription& description,
                     const WeightSpec& spec) {
  const auto tensor_of = [&checkpoint](const std::string& name) {
    const auto view = checkpoint.tensor(name);
    FATHOM_CHECK(view.ok(), "{}", view.status().message());
    return *view;
  };
  const TensorView view = tensor_of(spec.name);
  if (is_floating(view.dtype)) return {view.dtype, QuantType::kFloat, view.num_bytes()};
  const bool int4 = view.dtype == DType::kUint8;
  const size_t factor_bytes = int4 ? tensor_of(factors_name(spec.name)).num_bytes() : 0;
  return {view.dtype,
          description.find(spec.name).value_or(int4 ? QuantType::kW4A8Dynamic : QuantType::kW8A8Dynamic),
          view.num_bytes() + tensor_of(scale_name(spec.name)).num_bytes() + factor_bytes};
}

// bytes * part / whole, rounded up, without overflow.
uint64_t share_of(uint64_t bytes, int64_t part, int64_t whole) {
  const auto p = static_cast<uint64_t>(part), w = static_cast<uint64_t>(whole);
  return bytes / w * p + (bytes % w * p + w - 1) / w;
}

// int4 takes more in panels than in the file, where its groups are longer than theirs.
uint64_t packed_bytes(const WeightGroup& group) {
  if (group.dtype != DType::kUint8) return group.rank_bytes;
  constexpr double kWeightBytes =
      static_cast<double>(kernels::kSuperblockBytes) / (kernels::kSuperblockInputs * kernels::kPanelRows);
  const double share = static_cast<double>(group.rank_bytes) / static_cast<double>(group.bytes);
  const double packed = static_cast<double>(group.num_elements) * kWeightBytes * share;
  return std::max(group.rank_bytes, static_cast<uint64_t>(packed));
}

std::vector<WeightGroup> group_weights(const ModelConfig& config, const Sharding& sharding,
                                       const std::function<Format(const WeightSpec&)>& format_of) {
  std::vector<WeightGroup> groups;
  for (const WeightSpec& spec : weight_table(config)) {
    const Format format = format_of(spec);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const WeightGroup& g) {
      return g.role == spec.role && g.dtype == format.dtype && g.type == format.type;
    });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), {.role = spec.role, .dtype = format.dtype, .type = format.type});
    }
    const int64_t num_elements = spec.shape.num_elements();
    ++group->num_tensors;
    group->num_elements += num_elements;
    group->bytes += format.bytes;
    group->rank_bytes += share_of(format.bytes, rank_elements(spec, config, sharding), num_elements);
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const WeightGroup& a, const WeightGroup& b) { return a.role < b.role; });
  return groups;
}

// Activations are float32: those of the attention and dense path per token, the routed experts' inputs per
// token and chosen expert, their hidden rows for one wave (device/cpu_experts.cc) or on a GPU for all of
// them, those of the head per wanted row; queries in latent space and what they attended to per absorbed
// token, and the partial results of its splits; the tables of cosines and sines; and the key rows of
// kv_b_proj, which a backend holds in two layouts.
uint64_t workspace(const ModelConfig& c, const MemoryPlanOptions& o) {
  constexpr int64_t kFloat = sizeof(float);
  constexpr int64_t kSplit = 256;
  const bool is_gpu = o.device == DeviceKind::kCuda;
  const uint64_t min_split_bytes = uint64_t{is_gpu ? 256u : 64u} << 20;
  const int64_t ranks = o.sharding.num_ranks;
  const int64_t heads = o.sharding.rank_heads(c);
  // Of each slice its product, of a share of the vocabulary also what is gathered of all.
  const int64_t partial = o.sharding.num_partial_sums() * c.hidden_size;
  const int64_t gathered = ranks > 1 ? c.vocab_size + ceil_div(c.vocab_size, ranks) : 0;
  const int64_t attention = 2 * c.hidden_size + c.q_lora_rank.value_or(0) + c.cache_dim() +
                            heads * (c.qk_head_dim() + c.v_head_dim);
  const int64_t absorbed = heads * (3 * c.kv_lora_rank + c.qk_head_dim());
  const int64_t dense =
      2 * ceil_div(std::max(c.intermediate_size, c.shared_intermediate_size()), ranks) + c.hidden_size;
  const int64_t routed = c.num_experts_per_tok * c.hidden_size + 2 * c.n_routed_experts;
  const int64_t rows = std::min(o.max_num_seqs, o.max_num_batched_tokens) + o.max_num_drafts;
  const uint64_t splits = std::max<uint64_t>(
      min_split_bytes,
      saturating_product({ceil_div(o.max_model_len, kSplit), heads, c.kv_lora_rank, kFloat}));
  const int64_t wave_rows = is_gpu ? o.max_num_batched_tokens * c.num_experts_per_tok : 1024;
  const uint64_t hidden = saturating_product({wave_rows, 2 * c.moe_intermediate_size, kFloat});
  const uint64_t keys = saturating_product({c.num_hidden_layers, heads, c.qk_nope_head_dim, c.kv_lora_rank,
                                            static_cast<int64_t>(dtype_bytes(c.torch_dtype))});
  return saturating_sum({saturating_product({o.max_num_batched_tokens,
                                             attention + absorbed + dense + routed + partial, kFloat}),
                         saturating_product({rows, 2 * (c.hidden_size + c.vocab_size) + gathered, kFloat}),
                         saturating_product({o.max_model_len, c.qk_rope_head_dim, kFloat}), splits, hidden,
                         keys, is_gpu ? kDeviceBytes : kProcessBytes});
}

}  // namespace

uint64_t cache_bytes_per_token(const ModelConfig& config, DType kv_cache_dtype) {
  constexpr int64_t kScaleBytes = sizeof(float);
  constexpr int64_t kHalfBytes = 2;
  const int64_t layer_bytes = kv_cache_dtype == DType::kInt8
                                  ? config.kv_lora_rank + kScaleBytes + config.qk_rope_head_dim * kHalfBytes
                                  : config.cache_dim() * static_cast<int64_t>(dtype_bytes(kv_cache_dtype));
  return static_cast<uint64_t>(config.num_hidden_layers * layer_bytes);
}

std::vector<WeightGroup> weight_groups(const ModelConfig& config, const Sharding& sharding) {
  return group_weights(config, sharding,
                       [&](const WeightSpec& spec) { return planned_format(config, spec); });
}

std::vector<WeightGroup> weight_groups(const ModelConfig& config, const Sharding& sharding,
                                       const Checkpoint& checkpoint, const QuantDescription& description) {
  if (const Checkpoint::RankPart* part = checkpoint.rank_part()) {
    auto groups = weight_groups(checkpoint.directory(), part->folder, part->rank);
    FATHOM_CHECK(groups.ok(), "{}", groups.status().message());
    return std::move(groups).value();
  }
  return group_weights(config, sharding,
                       [&](const WeightSpec& spec) { return stored_format(checkpoint, description, spec); });
}

Result<std::vector<WeightGroup>> weight_groups(const std::string& directory, const ShardedFolder& folder,
                                               int64_t rank) {
  std::vector<WeightGroup> groups;
  for (const ShardedGroup& group : folder.groups) {
    const auto role = role_from_name(group.role);
    if (!role) return invalid_data("{}/{}: \"{}\" is no weight", directory, kShardingName, group.role);
    groups.push_back({.role = *role,
                      .dtype = group.dtype,
                      .type = group.type,
                      .num_tensors = group.num_tensors,
                      .num_elements = group.num_elements,
                      .bytes = group.bytes,
                      .rank_bytes = group.rank_bytes[static_cast<size_t>(rank)]});
  }
  return groups;
}

std::vector<QuantizedPart> quantized_parts(std::span<const WeightGroup> groups) {
  constexpr std::string_view kParts[] = {"attention", "dense", "experts", "shared experts", "head"};
  std::vector<QuantizedPart> parts;
  for (std::string_view part : kParts) {
    parts.push_back({part, QuantType::kFloat, 0});
    for (QuantType type : kQuantizedTypes) parts.push_back({part, type, 0});
  }
  for (const WeightGroup& group : groups) {
    if (role_formats(group.role) == WeightFormats::kFloat) continue;
    for (QuantizedPart& part : parts) {
      if (part.part == part_name(group.role) && part.type == group.type)
        part.num_tensors += group.num_tensors;
    }
  }
  std::erase_if(parts, [](const QuantizedPart& part) { return part.num_tensors == 0; });
  return parts;
}

MemoryPlan plan_memory(const ModelConfig& config, const MemoryPlanOptions& options,
                       std::vector<WeightGroup> weights) {
  MemoryPlan plan;
  plan.weights = std::move(weights);
  for (const WeightGroup& group : plan.weights) {
    plan.weight_bytes += group.bytes;
    plan.rank_weight_bytes += packed_bytes(group);
  }
  plan.cache_bytes_per_token = cache_bytes_per_token(config, options.kv_cache_dtype);
  const int64_t sequence_tokens = round_up(options.max_model_len, options.block_size);
  plan.num_cache_tokens = static_cast<int64_t>(
      saturating_product({sequence_tokens, ceil_div(options.max_num_seqs, options.sharding.num_homes())}));
  plan.cache_bytes =
      saturating_product({plan.num_cache_tokens, static_cast<int64_t>(plan.cache_bytes_per_token)});
  plan.workspace_bytes = workspace(config, options);
  plan.rank_total_bytes = saturating_sum({plan.rank_weight_bytes, plan.cache_bytes, plan.workspace_bytes});
  return plan;
}

Status check_memory(const MemoryPlan& plan, const MemoryInfo& memory) {
  const auto available = memory.available();
  if (!available || plan.rank_total_bytes <= *available) return ok_status();
  return resource_exhausted(
      "out of memory foreseen: {:.2f} GiB needed (weights {:.2f}, cache {:.2f}, workspace {:.2f}), {:.2f} "
      "GiB available{}: {}",
      gib(plan.rank_total_bytes), gib(plan.rank_weight_bytes), gib(plan.cache_bytes),
      gib(plan.workspace_bytes), gib(*available), memory.owner.empty() ? "" : " on " + memory.owner,
      plan.rank_weight_bytes > *available
          ? "the weights alone do not fit, use more ranks or a machine with more memory"
          : "lower --kv-memory, --max-model-len or --max-num-seqs");
}

}  // namespace fathom
