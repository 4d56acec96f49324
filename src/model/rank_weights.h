// What one rank has of the weights, piece by piece: a piece is what the backend packs at once, and a tensor
// of the rank's own files in a folder that `fathom shard` made. Loading a whole model's folder cuts the same
// pieces out of its tensors (weight_window.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/sharding.h"
#include "model/weight_table.h"

namespace fathom {

struct WeightPiece {
  WeightSpec spec;  // the weight's, with the piece's own name and shape
  TensorSlice slice;
};

// What those slices of the sharding's rank have of a weight. The name is the weight's, or where the rank's
// slices are several pieces "model.layers.0.self_attn.o_proj.slice-3.weight". May be empty.
WeightPiece weight_piece(const WeightSpec& spec, const ModelConfig& config, const Sharding& sharding,
                         IndexRange slices);
// All pieces that the sharding's rank has of those weights and that are not empty, about in the order in
// which they are loaded. specs: of the weight table, or of some of its layers.
std::vector<WeightPiece> weight_pieces(std::span<const WeightSpec> specs, const ModelConfig& config,
                                       const Sharding& sharding);

// How a sharded folder shares the model, seen from one of its ranks.
Sharding sharding_of(const ShardedFolder& folder, int64_t rank);
// Refused, naming the folder, what it was made for and what is asked for (width_unit does not matter); so are
// ranks with sequences of their own, which need all heads.
Status check_fits(const std::string& directory, const ShardedFolder& folder, const Sharding& wanted);
// The folder's weights for the sharding's rank: of a whole model, or that rank's files of a sharded folder,
// which has to fit. Precondition: check_sharding() passed.
Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& directory, const Sharding& sharding);

// The tensors of weights that a checkpoint has to hold: the weight table, or a rank's pieces.
std::vector<WeightSpec> stored_table(const Checkpoint& checkpoint, const ModelConfig& config);

}  // namespace fathom
