// What a checkpoint holds for the weights of the table: floating tensors, or int8 and int4 tensors with their
// scales (docs/quantization.md) and the way their layer is to be multiplied. Checked here, once, before
// anything is computed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantization.h"
#include "model/weight_table.h"
#include "tensor/view.h"

namespace fathom {

// Views of the checkpoint, valid as long as it.
struct StoredWeight {
  TensorView tensor;       // spec.shape, floating or int8; int4: uint8 [n, k / 2], two inputs a byte
  TensorView scale;        // int8, int4: [n] or [n, 1] floating; else data is null
  TensorView factors;      // int4: uint8 [n, ceil(k / group_size)]; else data is null
  int64_t group_size = 0;  // int4: inputs that share a factor, 32, 64 or 128; else 0
  QuantType type = QuantType::kFloat;  // W8.. exactly where tensor is int8, W4.. exactly where it is uint8
};

// spec is of stored_table() (model/rank_weights.h). Looks at headers alone. Refused, naming file and tensor:
// a tensor that is missing or has another shape or type than the spec allows; int8 or int4 without a
// description, without an entry in it or with one of other bits; a floating tensor whose entry says
// otherwise; a scale that is missing, not floating or of another shape; factors that are missing, not uint8
// or of a shape that no group size gives.
Result<StoredWeight> stored_weight(const Checkpoint& checkpoint, const QuantDescription& description,
                                   const WeightSpec& spec);

// Whether the checkpoint holds every weight of stored_table() as stored_weight() wants it, every scale is
// finite and not negative, no factor is above 15, and every X.weight_offset is 0 everywhere (all is
// symmetric); the first that is not is named. Reads all scales, factors and offsets, no weights.
Status check_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                     const QuantDescription& description);

// Tensors that no weight of the table uses, for a warning. The scales, factors and offset of a quantised
// weight are used; known leftovers (rotary tables, the head of a model with tied embeddings) do not count
// either.
std::vector<std::string> unused_tensors(const Checkpoint& checkpoint, const ModelConfig& config);

// How one weight is stored: a floating type's name, "int8" or "int4".
std::string_view storage_name(DType dtype);

// The part of the model that a quantisable weight belongs to: "attention", "dense", "experts", "shared
// experts", "head".
std::string_view part_name(WeightRole role);

// "X.weight_scale", "X.weight_offset" and "X.weight_scale_second" of "X.weight".
std::string scale_name(std::string_view weight_name);
std::string offset_name(std::string_view weight_name);
std::string factors_name(std::string_view weight_name);

// The group sizes an int4 weight may have, ascending, and how many groups a row of num_inputs has.
inline constexpr int64_t kGroupSizes[] = {32, 64, 128};
inline int64_t num_groups(int64_t num_inputs, int64_t group_size) {
  return (num_inputs + group_size - 1) / group_size;
}

}  // namespace fathom
