#include "shard/shard_plan.h"

#include <algorithm>
#include <unordered_map>

#include "base/check.h"
#include "model/stored_weight.h"
#include "model/weight_window.h"

namespace fathom {
namespace {

enum class Content : uint8_t { kWeight, kFactors, kScale };

struct PieceTensor {
  TensorDeclaration declaration;
  size_t piece;
  Content content;
};

// What cut_weight() makes of the piece.
void add_tensors(const WeightPiece& piece, const StoredWeight& stored, size_t index,
                 std::vector<PieceTensor>& tensors) {
  const int64_t rows = piece.slice.rows.size(), cols = piece.slice.cols.size();
  const std::string& name = piece.spec.name;
  const bool int4 = is_int4(stored.type);
  tensors.push_back({{name, stored.tensor.dtype, int4 ? Shape{rows, cols / 2} : piece.spec.shape},
                     index,
                     Content::kWeight});
  if (int4) {
    const int64_t groups = num_groups(cols, window_group_size(stored, piece.slice.cols));
    tensors.push_back({{factors_name(name), DType::kUint8, {rows, groups}}, index, Content::kFactors});
  }
  if (stored.type != QuantType::kFloat)
    tensors.push_back({{scale_name(name), DType::kFloat32, {rows, 1}}, index, Content::kScale});
}

StoredWeight stored_in(const ShardSource& source, const WeightSpec& spec) {
  const auto stored = stored_weight(source.checkpoint, source.description, spec);
  FATHOM_CHECK(stored.ok(), "{}", stored.status().message());
  return *stored;
}

// Of one rank's pieces of those weights; piece indexes are of pieces.
std::vector<PieceTensor> tensors_of(const ShardSource& source, IndexRange weights,
                                    const std::vector<WeightPiece>& pieces,
                                    std::vector<PlacedPiece>& placed) {
  std::unordered_map<std::string, size_t> weight_of;
  for (auto i = static_cast<size_t>(weights.begin); i < static_cast<size_t>(weights.end); ++i)
    weight_of.emplace(source.table[i].name, i);
  std::vector<PieceTensor> tensors;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const WeightSpec& spec = pieces[i].spec;
    const size_t weight = weight_of.at(weight_name(spec.role, spec.layer, spec.expert));
    placed.push_back({.weight = weight, .slice = pieces[i].slice});
    add_tensors(pieces[i], stored_in(source, source.table[weight]), i, tensors);
  }
  return tensors;
}

std::vector<WeightPiece> pieces_of(const ShardSource& source, const Sharding& sharding, IndexRange weights) {
  const std::span specs(source.table);
  return weight_pieces(specs.subspan(static_cast<size_t>(weights.begin), static_cast<size_t>(weights.size())),
                       source.config, sharding);
}

uint64_t rank_bytes(const ShardSource& source, const Sharding& sharding, IndexRange weights) {
  std::vector<PlacedPiece> placed;
  uint64_t sum = 0;
  for (const PieceTensor& tensor : tensors_of(source, weights, pieces_of(source, sharding, weights), placed))
    sum += tensor.declaration.num_bytes();
  return sum;
}

// A layer, or what lies in front of all layers, or behind them.
std::vector<IndexRange> layers_of(const std::vector<WeightSpec>& table) {
  std::vector<IndexRange> layers;
  for (int64_t i = 0; i < static_cast<int64_t>(table.size()); ++i) {
    const auto at = static_cast<size_t>(i);
    if (i == 0 || table[at].layer != table[at - 1].layer) layers.push_back({i, i});
    layers.back().end = i + 1;
  }
  return layers;
}

}  // namespace

std::vector<IndexRange> plan_stages(const ShardSource& source, const Sharding& sharding,
                                    uint64_t largest_file) {
  std::vector<IndexRange> stages;
  std::vector<uint64_t> filled(static_cast<size_t>(sharding.num_ranks));
  for (const IndexRange& layer : layers_of(source.table)) {
    std::vector<uint64_t> bytes;
    Sharding of_rank = sharding;
    for (of_rank.rank = 0; of_rank.rank < sharding.num_ranks; ++of_rank.rank)
      bytes.push_back(rank_bytes(source, of_rank, layer));
    bool fits = !stages.empty();
    for (size_t rank = 0; rank < bytes.size(); ++rank)
      fits = fits && filled[rank] + bytes[rank] <= largest_file;
    if (!fits) {
      stages.push_back({layer.begin, layer.begin});
      std::fill(filled.begin(), filled.end(), 0);
    }
    stages.back().end = layer.end;
    for (size_t rank = 0; rank < bytes.size(); ++rank) filled[rank] += bytes[rank];
  }
  return stages;
}

PlannedRankFile plan_rank_file(const ShardSource& source, const Sharding& sharding,
                               const std::vector<IndexRange>& stages, size_t stage) {
  PlannedRankFile file;
  file.name = rank_file_name(sharding.rank, sharding.num_ranks, stage, stages.size());
  std::vector<PieceTensor> tensors =
      tensors_of(source, stages[stage], pieces_of(source, sharding, stages[stage]), file.pieces);
  // Larger elements first, so that each tensor is aligned behind bytes of odd sizes.
  std::stable_sort(tensors.begin(), tensors.end(), [](const PieceTensor& a, const PieceTensor& b) {
    return dtype_bytes(a.declaration.dtype) > dtype_bytes(b.declaration.dtype);
  });
  for (size_t i = 0; i < tensors.size(); ++i) {
    PlacedPiece& piece = file.pieces[tensors[i].piece];
    if (tensors[i].content == Content::kWeight) piece.tensor = i;
    if (tensors[i].content == Content::kFactors) piece.factors = i;
    if (tensors[i].content == Content::kScale) piece.scale = i;
    file.tensors.push_back(std::move(tensors[i].declaration));
  }
  std::stable_sort(file.pieces.begin(), file.pieces.end(),
                   [](const PlacedPiece& a, const PlacedPiece& b) { return a.weight < b.weight; });
  return file;
}

}  // namespace fathom
