#include "model/rank_weights.h"

#include <algorithm>

#include "base/check.h"
#include "model/memory_plan.h"

namespace fathom {
namespace {

constexpr std::string_view kWeightEnding = ".weight";

// Weights whose products are summed over slices, and those in front of them: each slice has its own.
bool is_cut_by_slice(WeightRole role) {
  switch (role) {
    case WeightRole::kOProj:
    case WeightRole::kDenseGate:
    case WeightRole::kDenseUp:
    case WeightRole::kDenseDown:
    case WeightRole::kSharedGate:
    case WeightRole::kSharedUp:
    case WeightRole::kSharedDown:
    case WeightRole::kExpertGate:
    case WeightRole::kExpertUp:
    case WeightRole::kExpertDown:
      return true;
    default:
      return false;
  }
}

std::string piece_name(const std::string& name, int64_t slice) {
  FATHOM_CHECK(name.ends_with(kWeightEnding), "{}", name);
  return fmt::format("{}.slice-{}{}", name.substr(0, name.size() - kWeightEnding.size()), slice,
                     kWeightEnding);
}

// A piece and its place in the order of loading: layers as they are, and of each first what all slices share.
struct OrderedPiece {
  WeightPiece piece;
  int64_t slice;  // of a network's weights; else -1
};

void add_pieces(const WeightSpec& spec, const ModelConfig& config, const Sharding& sharding,
                std::vector<OrderedPiece>& pieces) {
  const IndexRange slices = sharding.slices();
  const auto add = [&](IndexRange some, int64_t order) {
    WeightPiece piece = weight_piece(spec, config, sharding, some);
    if (piece.slice.num_elements() > 0) pieces.push_back({std::move(piece), order});
  };
  if (!is_cut_by_slice(spec.role)) return add(slices, -1);
  for (int64_t slice = slices.begin; slice < slices.end; ++slice)
    add({slice, slice + 1}, spec.role == WeightRole::kOProj ? -1 : slice);
}

}  // namespace

WeightPiece weight_piece(const WeightSpec& spec, const ModelConfig& config, const Sharding& sharding,
                         IndexRange slices) {
  WeightPiece piece{spec, slice_of(spec, config, sharding, slices)};
  if (slices.size() < sharding.slices_per_rank()) piece.spec.name = piece_name(spec.name, slices.begin);
  piece.spec.shape = spec.shape.rank() == 2 ? Shape{piece.slice.rows.size(), piece.slice.cols.size()}
                                            : Shape{piece.slice.rows.size()};
  return piece;
}

std::vector<WeightPiece> weight_pieces(std::span<const WeightSpec> specs, const ModelConfig& config,
                                       const Sharding& sharding) {
  std::vector<OrderedPiece> ordered;
  for (const WeightSpec& spec : specs) add_pieces(spec, config, sharding, ordered);
  for (auto layer = ordered.begin(); layer != ordered.end();) {
    const auto end = std::find_if(layer, ordered.end(), [&](const OrderedPiece& other) {
      return other.piece.spec.layer != layer->piece.spec.layer;
    });
    std::stable_sort(layer, end,
                     [](const OrderedPiece& a, const OrderedPiece& b) { return a.slice < b.slice; });
    layer = end;
  }
  std::vector<WeightPiece> pieces;
  for (OrderedPiece& entry : ordered) pieces.push_back(std::move(entry.piece));
  return pieces;
}

Sharding sharding_of(const ShardedFolder& folder, int64_t rank) {
  return {.num_ranks = folder.num_ranks,
          .rank = rank,
          .num_slices = folder.num_slices,
          .num_expert_groups = folder.num_expert_groups,
          .width_unit = folder.width_unit};
}

Status check_fits(const std::string& directory, const ShardedFolder& folder, const Sharding& wanted) {
  if (wanted.num_homes() > 1)
    return unsupported(
        "--dp-attention: {} has a part of the heads for each rank; use the model it is made of", directory);
  if (folder.num_ranks == wanted.num_ranks && folder.num_slices == wanted.num_slices &&
      folder.num_expert_groups == wanted.num_expert_groups)
    return ok_status();
  return invalid_argument(
      "{}: was sharded for {}; asked for are {}: start it as it was sharded, or shard the model anew",
      directory, sharding_text(folder.num_ranks, folder.num_expert_groups, folder.num_slices),
      sharding_text(wanted.num_ranks, wanted.num_expert_groups, wanted.num_slices));
}

Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& directory, const Sharding& sharding) {
  FATHOM_ASSIGN_OR_RETURN(std::optional<ShardedFolder> folder, read_sharding(directory));
  if (!folder) return Checkpoint::open(directory);
  FATHOM_RETURN_IF_ERROR(check_fits(directory, *folder, sharding));
  FATHOM_RETURN_IF_ERROR(weight_groups(directory, *folder, sharding.rank).status());
  return Checkpoint::open_rank(directory, std::move(*folder), sharding.rank);
}

std::vector<WeightSpec> stored_table(const Checkpoint& checkpoint, const ModelConfig& config) {
  const Checkpoint::RankPart* part = checkpoint.rank_part();
  std::vector<WeightSpec> table = weight_table(config);
  if (part == nullptr) return table;
  std::vector<WeightSpec> own;
  for (WeightPiece& piece : weight_pieces(table, config, sharding_of(part->folder, part->rank)))
    own.push_back(std::move(piece.spec));
  return own;
}

}  // namespace fathom
