#include "benchmark/traffic.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/packed.h"

namespace fathom {
namespace {

enum class Part { kEmbedding, kCommon, kRouted, kHead };

Part part_of(WeightRole role) {
  switch (role) {
    case WeightRole::kEmbedTokens:
      return Part::kEmbedding;
    case WeightRole::kExpertGate:
    case WeightRole::kExpertUp:
    case WeightRole::kExpertDown:
      return Part::kRouted;
    case WeightRole::kLmHead:
      return Part::kHead;
    default:
      return Part::kCommon;
  }
}

bool is_attention(WeightRole role) { return role >= WeightRole::kQProj && role <= WeightRole::kOProj; }

struct RoleSize {
  double num_parameters = 0;  // of matrices: norms and biases multiply nothing worth counting
  double num_outputs = 0;     // rows of matrices
  double num_tensors = 0;
};

// From the table's shapes, not from bytes: those may hold scales.
std::array<RoleSize, kNumWeightRoles> matrix_sizes(const ModelConfig& config) {
  std::array<RoleSize, kNumWeightRoles> sizes;
  for (const WeightSpec& spec : weight_table(config)) {
    RoleSize& size = sizes[static_cast<size_t>(spec.role)];
    size.num_tensors += 1;
    if (spec.shape.rank() != 2) continue;
    size.num_parameters += static_cast<double>(spec.shape.num_elements());
    size.num_outputs += static_cast<double>(spec.shape[0]);
  }
  return sizes;
}

double& counter_of(OperationCounts& counts, const WeightGroup& group) {
  if (group.type != QuantType::kFloat) return has_16bit_inputs(group.type) ? counts.int8_pair : counts.int8;
  return group.dtype == DType::kFloat32 ? counts.float32 : counts.bfloat16;
}

double rank_share(const WeightGroup& group) {
  return group.bytes == 0 ? 1 : static_cast<double>(group.rank_bytes) / static_cast<double>(group.bytes);
}

// As a step reads them, all tensors of the group. int4 has a factor for every 32 inputs once it is packed,
// however it is stored (kernels/packed.h), and a scale a row.
double read_bytes(const WeightGroup& group, const RoleSize& size) {
  if (group.dtype != DType::kUint8) return static_cast<double>(group.rank_bytes);
  constexpr double kPackedBytes =
      static_cast<double>(kernels::kSuperblockBytes) / (kernels::kPanelRows * kernels::kSuperblockInputs);
  const double share = static_cast<double>(group.num_tensors) / size.num_tensors;
  return rank_share(group) * share * (kPackedBytes * size.num_parameters + sizeof(float) * size.num_outputs);
}

}  // namespace

void OperationCounts::add(const OperationCounts& other, double n) {
  int8 += n * other.int8;
  int8_pair += n * other.int8_pair;
  bfloat16 += n * other.bfloat16;
  float32 += n * other.float32;
  attention += n * other.attention;
  expansion += n * other.expansion;
}

double ModelTraffic::body_bytes(int64_t num_tokens) const {
  if (num_tokens == 0) return 0;
  if (num_experts == 0) return common_bytes;
  const double share =
      expected_experts(num_experts, experts_per_token, num_tokens) / static_cast<double>(num_experts);
  return common_bytes + routed_bytes * share;
}

ModelTraffic describe_traffic(const ModelConfig& config, std::span<const WeightGroup> weights,
                              DType kv_cache_dtype, const Sharding& sharding) {
  ModelTraffic traffic;
  traffic.num_experts = config.n_routed_experts;
  traffic.experts_per_token = config.num_experts_per_tok;
  const auto num_homes = static_cast<double>(sharding.num_homes());
  traffic.cache_bytes_per_token =
      static_cast<double>(cache_bytes_per_token(config, kv_cache_dtype)) / num_homes;
  const double routed_share = config.n_routed_experts == 0 ? 0
                                                           : static_cast<double>(config.num_experts_per_tok) /
                                                                 static_cast<double>(config.n_routed_experts);
  const auto sizes = matrix_sizes(config);
  for (const WeightGroup& group : weights) {
    Part part = part_of(group.role);
    if (part == Part::kEmbedding) {
      if (!config.tie_word_embeddings) continue;
      part = Part::kHead;
    }
    // All tensors of a role have one shape, so a group's share of them is its share of the parameters.
    const RoleSize& size = sizes[static_cast<size_t>(group.role)];
    const bool of_own_rows = sharding.num_homes() > 1 && is_attention(group.role);
    const double operations = 2 * (of_own_rows ? 1 / num_homes : rank_share(group)) * size.num_parameters *
                              static_cast<double>(group.num_tensors) / size.num_tensors;
    const double bytes = read_bytes(group, size);
    switch (part) {
      case Part::kHead:
        traffic.head_bytes += bytes;
        counter_of(traffic.head, group) += operations;
        break;
      case Part::kRouted:
        traffic.routed_bytes += bytes;
        counter_of(traffic.token, group) += operations * routed_share;
        break;
      default:
        traffic.common_bytes += bytes;
        counter_of(traffic.token, group) += operations;
    }
  }
  const auto head_layers = static_cast<double>(config.num_attention_heads * config.num_hidden_layers) /
                           static_cast<double>(sharding.num_ranks);
  traffic.expanded_pair = 2 * head_layers * static_cast<double>(config.qk_head_dim() + config.v_head_dim);
  traffic.absorbed_pair =
      2 * head_layers * static_cast<double>(2 * config.kv_lora_rank + config.qk_rope_head_dim);
  traffic.expanded_token = 2 * head_layers * static_cast<double>(config.kv_lora_rank * config.kv_head_dim());
  return traffic;
}

double expected_experts(int64_t num_experts, int64_t experts_per_token, int64_t num_tokens) {
  if (num_experts == 0) return 0;
  const auto all = static_cast<double>(num_experts);
  const double missed = 1 - static_cast<double>(experts_per_token) / all;
  return all * (1 - std::pow(missed, static_cast<double>(num_tokens)));
}

StepBytes decode_bytes(const ModelTraffic& traffic, int64_t num_sequences, int64_t num_keys) {
  return {.weights = traffic.body_bytes(num_sequences) + traffic.head_bytes,
          .cache = static_cast<double>(num_keys) * traffic.cache_bytes_per_token};
}

PrefillWork prefill_work(const ModelTraffic& traffic, const PrefillShape& shape) {
  const int64_t num_tokens = shape.num_sequences * shape.prompt_len;
  const auto prompt_len = static_cast<double>(shape.prompt_len);
  PrefillWork work;
  int64_t num_expanded = 0;  // cached tokens that a later chunk of their prompt expands once more
  for (int64_t begin = 0; begin < num_tokens; begin += shape.chunk_tokens) {
    const int64_t end = std::min(num_tokens, begin + shape.chunk_tokens);
    ++work.num_chunks;
    work.weight_bytes += traffic.body_bytes(end - begin);
    const bool samples = begin / shape.prompt_len != end / shape.prompt_len;
    if (samples) work.weight_bytes += traffic.head_bytes;
    num_expanded += begin % shape.prompt_len;
  }
  const auto num_sequences = static_cast<double>(shape.num_sequences);
  work.operations.add(traffic.token, num_sequences * prompt_len);
  work.operations.add(traffic.head, num_sequences);
  work.operations.attention = num_sequences * prompt_len * (prompt_len + 1) / 2 * traffic.expanded_pair;
  work.operations.expansion = static_cast<double>(num_expanded) * traffic.expanded_token;
  return work;
}

std::optional<double> operation_seconds(const OperationCounts& operations, const TierRates& rates) {
  double seconds = 0;
  bool known = true;
  const auto add = [&](double count, const std::optional<TierRates::Named>& rate) {
    if (count == 0) return;
    known = known && rate.has_value();
    if (rate) seconds += count / rate->ops_per_second;
  };
  // Two instructions for each multiplication of a weight with a row's value.
  add(operations.int8 + 2 * operations.int8_pair, rates.int8);
  add(operations.float32, rates.float32);
  add(operations.bfloat16 + operations.attention + operations.expansion, rates.bfloat16);
  return known ? std::optional(seconds) : std::nullopt;
}

}  // namespace fathom
