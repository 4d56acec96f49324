// How a linear layer is quantised, and the two spellings of it: config.json's and the description file's.
// Plain data header.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fathom {

// Both int8 types store the same bytes: int8 [n, k] with one scale for each of the n output rows. They differ
// in what the layer's input is multiplied as.
enum class QuantType : uint8_t {
  kFloat,
  kW8A16,        // as it is, a floating type
  kW8A8Dynamic,  // int8, with a scale per token that is found at run time
};

// "w8a16", "w8a8_dynamic": the values of config.json's quantize. "float" only in our own messages.
std::string_view quant_type_name(QuantType type);
// nullopt for everything else, "float" included.
std::optional<QuantType> quant_type_from_config(std::string_view name);

// "FLOAT", "W8A16", "W8A8_DYNAMIC": the values of a description file.
std::string_view description_name(QuantType type);
std::optional<QuantType> quant_type_from_description(std::string_view name);

}  // namespace fathom
