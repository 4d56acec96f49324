#include "checkpoint/quant_type.h"

namespace fathom {
namespace {

struct Names {
  QuantType type;
  std::string_view config;
  std::string_view description;
};

constexpr Names kNames[] = {
    {QuantType::kFloat, "float", "FLOAT"},
    {QuantType::kW8A16, "w8a16", "W8A16"},
    {QuantType::kW8A8Dynamic, "w8a8_dynamic", "W8A8_DYNAMIC"},
};

const Names& names_of(QuantType type) {
  for (const Names& names : kNames) {
    if (names.type == type) return names;
  }
  return kNames[0];
}

}  // namespace

std::string_view quant_type_name(QuantType type) { return names_of(type).config; }
std::string_view description_name(QuantType type) { return names_of(type).description; }

std::optional<QuantType> quant_type_from_config(std::string_view name) {
  for (const Names& names : kNames) {
    if (names.config == name && names.type != QuantType::kFloat) return names.type;
  }
  return std::nullopt;
}

std::optional<QuantType> quant_type_from_description(std::string_view name) {
  for (const Names& names : kNames) {
    if (names.description == name) return names.type;
  }
  return std::nullopt;
}

}  // namespace fathom
