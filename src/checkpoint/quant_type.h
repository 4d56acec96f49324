// How a linear layer is quantised, and the spellings of it: config.json's, the description file's and the
// command line's.
// Plain data header.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fathom {

// The number behind W is that of the weights' bits: int8 [n, k] with one scale for each of the n output rows,
// or int4 [n, k] with a factor per group of inputs besides (docs/quantization.md). The one behind A is what
// the layer's input is multiplied as, and changes no byte of the weights.
enum class QuantType : uint8_t {
  kFloat,
  kW8A16,        // as it is, a floating type
  kW8A8Dynamic,  // int8, with a scale per token that is found at run time
  kW4A16,
  kW4A8Dynamic,
};

inline constexpr QuantType kQuantizedTypes[] = {QuantType::kW8A16, QuantType::kW8A8Dynamic, QuantType::kW4A16,
                                                QuantType::kW4A8Dynamic};

inline bool is_int4(QuantType type) { return type == QuantType::kW4A16 || type == QuantType::kW4A8Dynamic; }
inline bool has_16bit_inputs(QuantType type) {
  return type == QuantType::kW8A16 || type == QuantType::kW4A16;
}

// "w8a16", "w8a8_dynamic", ...: the values of config.json's quantize. "float" only in our own messages.
std::string_view quant_type_name(QuantType type);
// nullopt for everything else, "float" included.
std::optional<QuantType> quant_type_from_config(std::string_view name);

// "FLOAT", "W8A16", "W8A8_DYNAMIC", ...: the values of a description file.
std::string_view description_name(QuantType type);
std::optional<QuantType> quant_type_from_description(std::string_view name);

// "w8a16", "w8a8-dynamic", ...: as options spell them. nullopt for everything else, "float" included.
std::string_view quant_type_option(QuantType type);
std::optional<QuantType> quant_type_from_option(std::string_view name);

}  // namespace fathom
