// What a checkpoint holds for the weights of the table: floating tensors, or int8 tensors with a scale per
// output row and the way their layer is to be multiplied. Checked here, once, before anything is computed.
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
  TensorView tensor;                   // spec.shape, floating or int8
  TensorView scale;                    // int8: [n] or [n, 1] floating, w = q * scale[row]; else data is null
  QuantType type = QuantType::kFloat;  // not kFloat exactly where tensor is int8
};

// Looks at headers alone. Refused, naming file and tensor: a tensor that is missing or has another shape or
// type than the spec allows; int8 without a description, without an entry in it or with the entry FLOAT; a
// floating tensor whose entry says otherwise; a scale or an offset that is missing (the scale only), not
// floating or of another shape.
Result<StoredWeight> stored_weight(const Checkpoint& checkpoint, const QuantDescription& description,
                                   const WeightSpec& spec);

// Whether the checkpoint holds every weight of the table as stored_weight() wants it, every scale is finite
// and not negative, and every X.weight_offset is 0 everywhere (the int8 are symmetric); the first that is not
// is named. Reads all scales and offsets, no weights.
Status check_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                     const QuantDescription& description);

// Tensors that no weight of the table uses, for a warning. The scale and offset of an int8 weight are used;
// known leftovers (rotary tables, the head of a model with tied embeddings) do not count either.
std::vector<std::string> unused_tensors(const Checkpoint& checkpoint, const ModelConfig& config);

// The linear layers of one part of the model in one type.
struct QuantizedPart {
  std::string_view part;  // "attention", "dense", "experts", "shared experts", "head"
  QuantType type = QuantType::kFloat;
  int64_t num_tensors = 0;
};

// What is quantised how, in the order of the parts; every tensor that could be int8 counts in one of them.
// Precondition: check_weights() passed.
std::vector<QuantizedPart> quantized_parts(const Checkpoint& checkpoint, const ModelConfig& config,
                                           const QuantDescription& description);

// "X.weight_scale" and "X.weight_offset" of "X.weight".
std::string scale_name(std::string_view weight_name);
std::string offset_name(std::string_view weight_name);

}  // namespace fathom
