// Which tensor of which rank's file each piece of a weight becomes. Files hold whole layers, in stages: the
// weights of one stage are read once and go into one file of each rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantization.h"
#include "checkpoint/safetensors_writer.h"
#include "model/rank_weights.h"

namespace fathom {

// What is sharded; all is borrowed.
struct ShardSource {
  const Checkpoint& checkpoint;
  const QuantDescription& description;
  const ModelConfig& config;
  const std::vector<WeightSpec>& table;  // weight_table()
};

// One piece, and where its tensors are in the file; scale and factors: where the weight has them.
struct PlacedPiece {
  size_t weight = 0;  // index in the table
  TensorSlice slice;
  size_t tensor = 0;
  size_t scale = 0;
  size_t factors = 0;
};

struct PlannedRankFile {
  std::string name;
  std::vector<TensorDeclaration> tensors;  // in the order of the file
  std::vector<PlacedPiece> pieces;         // by weight
};

// Cuts the table into stages, [begin, end) of it, so that no rank's file of one becomes larger than that, or
// holds one layer. Precondition: check_weights(), check_sharding() and check_sliced_groups() passed.
std::vector<IndexRange> plan_stages(const ShardSource& source, const Sharding& sharding,
                                    uint64_t largest_file);

// The file of the sharding's rank.
PlannedRankFile plan_rank_file(const ShardSource& source, const Sharding& sharding,
                               const std::vector<IndexRange>& stages, size_t stage);

}  // namespace fathom
