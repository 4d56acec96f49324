#include "model/sharding.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/checked_math.h"
#include "kernels/packed.h"

namespace fathom {
namespace {

// Units that a cut may not divide, along the axis that is cut: a head's rows or columns, the width's units,
// single tokens.
int64_t unit_of(WeightRole role, const ModelConfig& config, const Sharding& sharding) {
  switch (role) {
    case WeightRole::kQProj:
    case WeightRole::kQBProj:
      return config.qk_head_dim();
    case WeightRole::kKvBProj:
      return config.kv_head_dim();
    case WeightRole::kOProj:
      return config.v_head_dim;
    case WeightRole::kEmbedTokens:
    case WeightRole::kLmHead:
      return 1;
    default:
      return sharding.width_unit;
  }
}

IndexRange parts(int64_t size, int64_t unit, IndexRange indexes, int64_t count) {
  return {even_part(size, unit, indexes.begin, count).begin,
          even_part(size, unit, indexes.end - 1, count).end};
}

// Slice s belongs to group s / (slices per group) and shares the group's experts with its other slices.
IndexRange expert_part(const WeightSpec& spec, const ModelConfig& config, const Sharding& sharding,
                       int64_t size, int64_t slice) {
  const int64_t group_slices = sharding.num_slices / sharding.num_expert_groups;
  const IndexRange experts =
      even_part(config.n_routed_experts, 1, slice / group_slices, sharding.num_expert_groups);
  if (spec.expert < experts.begin || spec.expert >= experts.end) return {};
  return even_part(size, sharding.width_unit, slice % group_slices, group_slices);
}

bool is_cut_by_heads(WeightRole role) {
  return role == WeightRole::kQProj || role == WeightRole::kQBProj || role == WeightRole::kKvBProj ||
         role == WeightRole::kOProj;
}

bool is_int4(const Checkpoint& checkpoint, const std::string& name) {
  const auto view = checkpoint.tensor(name);
  return view.ok() && view->dtype == DType::kUint8;
}

bool is_down(WeightRole role) {
  return role == WeightRole::kDenseDown || role == WeightRole::kSharedDown || role == WeightRole::kExpertDown;
}

}  // namespace

IndexRange even_part(int64_t size, int64_t unit, int64_t index, int64_t count) {
  const int64_t units = ceil_div(size, unit);
  const auto begin_of = [&](int64_t part) {
    return std::min(size, (units / count * part + std::min(part, units % count)) * unit);
  };
  return {begin_of(index), begin_of(index + 1)};
}

Status check_sharding(const ModelConfig& config, const Sharding& sharding) {
  const int64_t ranks = sharding.num_ranks, slices = sharding.num_slices, groups = sharding.num_expert_groups;
  if (slices < ranks || slices % ranks != 0 || !std::has_single_bit(static_cast<uint64_t>(slices / ranks))) {
    return invalid_argument("--slices: {} is not the {} ranks times a power of two", slices, ranks);
  }
  const char* option = slices == ranks ? "--tp" : "--slices";
  if (config.num_attention_heads % sharding.num_head_slices() != 0) {
    return invalid_argument("{}: {} does not divide num_attention_heads {}", option, slices,
                            config.num_attention_heads);
  }
  if (config.vocab_size < slices)
    return invalid_argument("{}: {} is over vocab_size {}", option, slices, config.vocab_size);
  if (slices % groups != 0)
    return invalid_argument("--moe-ep: {} does not divide the {} slices", groups, slices);
  if (groups > 1 && config.n_routed_experts < groups)
    return invalid_argument("--moe-ep: {} is over n_routed_experts {}", groups, config.n_routed_experts);
  return ok_status();
}

int64_t width_unit_of(const Checkpoint& checkpoint, const ModelConfig& config) {
  if (const Checkpoint::RankPart* part = checkpoint.rank_part()) return part->folder.width_unit;
  for (const WeightSpec& spec : weight_table(config))
    if (is_down(spec.role) && is_int4(checkpoint, spec.name)) return kernels::kInt4GroupInputs;
  return 1;
}

Status check_sliced_groups(const Checkpoint& checkpoint, const ModelConfig& config,
                           const Sharding& sharding) {
  const int64_t num_slices = sharding.num_head_slices();
  const int64_t inputs = config.num_attention_heads / num_slices * config.v_head_dim;
  if (num_slices == 1 || inputs % kernels::kInt4GroupInputs == 0) return ok_status();
  for (const WeightSpec& spec : weight_table(config)) {
    if (spec.role != WeightRole::kOProj || !is_int4(checkpoint, spec.name)) continue;
    return unsupported(
        "{}: tensor \"{}\" is int4, and one of {} slices has {} of its inputs: not a multiple "
        "of {}, over which factors reach",
        checkpoint.file_of(spec.name), spec.name, num_slices, inputs, kernels::kInt4GroupInputs);
  }
  return ok_status();
}

TensorSlice whole_of(const WeightSpec& spec) {
  return {{0, spec.shape[0]}, {0, spec.shape.rank() == 2 ? spec.shape[1] : 1}};
}

TensorSlice slice_of(const WeightSpec& spec, const ModelConfig& config, const Sharding& sharding,
                     IndexRange slices) {
  TensorSlice slice = whole_of(spec);
  if (spec.shard_axis == ShardAxis::kNone) return slice;
  IndexRange& cut = spec.shard_axis == ShardAxis::kRows ? slice.rows : slice.cols;
  if (spec.expert >= 0) {
    FATHOM_CHECK(slices.size() == 1, "{} slices of an expert", slices.size());
    cut = expert_part(spec, config, sharding, cut.end, slices.begin);
  } else {
    const bool by_heads = is_cut_by_heads(spec.role);
    cut = parts(cut.end, unit_of(spec.role, config, sharding), slices,
                by_heads ? sharding.num_head_slices() : sharding.num_slices);
  }
  return slice;
}

IndexRange rank_slices(const WeightSpec& spec, const Sharding& sharding) {
  return is_cut_by_heads(spec.role) ? sharding.head_slices() : sharding.slices();
}

int64_t rank_elements(const WeightSpec& spec, const ModelConfig& config, const Sharding& sharding) {
  if (spec.shard_axis == ShardAxis::kNone) return spec.shape.num_elements();
  int64_t elements = 0;
  const IndexRange slices = rank_slices(spec, sharding);
  for (int64_t slice = slices.begin; slice < slices.end; ++slice)
    elements += slice_of(spec, config, sharding, {slice, slice + 1}).num_elements();
  return elements;
}

}  // namespace fathom
