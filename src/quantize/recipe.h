// Which type each weight of a model gets: the answer to `fathom quantize`'s options.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "checkpoint/quant_type.h"
#include "model/stored_layout.h"
#include "model/weight_stream.h"
#include "model/weight_table.h"

namespace fathom {

// A pattern with *, ? or [ is a glob over the whole name, any other a part of it.
struct MixRule {
  std::string pattern;
  QuantType type = QuantType::kW8A16;
};

struct Recipe {
  QuantType type = QuantType::kW8A8Dynamic;
  std::vector<MixRule> mix = {};          // over type; of several that fit, the last
  std::vector<std::string> exclude = {};  // stays floating, whatever mix says
  bool quantize_head = false;             // without it the head stays floating, whatever mix says
  int64_t group_size = LayoutOptions().group_size;
  std::optional<Rounding> rounding = std::nullopt;  // nullopt: default_rounding() of each type
};

// By measured error: search gains 0.8 to 1.2 dB with int4, but 0.04 dB with int8, where nearest gives the
// bytes of Ascend's tools.
Rounding default_rounding(QuantType type);

// The type of each weight of the table. Refused: a pattern that fits no weight that could be quantised,
// quantize_head without a head, gate and up of one network in two types (they are multiplied as one matrix).
Result<std::vector<QuantType>> assign_types(std::span<const WeightSpec> table, const Recipe& recipe);

// The keys quantize, mla_quantize and moe_quantize of config.json. The last two only where all quantised
// weights of that part have one type that is not the recipe's.
struct QuantizeKeys {
  QuantType quantize = QuantType::kFloat;
  std::optional<QuantType> mla_quantize;
  std::optional<QuantType> moe_quantize;
};
QuantizeKeys quantize_keys(std::span<const WeightSpec> table, std::span<const QuantType> types,
                           const Recipe& recipe);

// The options as manifest and report hold them.
Json recipe_json(const Recipe& recipe);

}  // namespace fathom
