#include "checkpoint/quant_type.h"

namespace fathom {
namespace {

struct Names {
  QuantType type;
  std::string_view config;
  std::string_view description;
  std::string_view option;
};

constexpr Names kNames[] = {
    {QuantType::kFloat, "float", "FLOAT", "float"},
    {QuantType::kW8A16, "w8a16", "W8A16", "w8a16"},
    {QuantType::kW8A8Dynamic, "w8a8_dynamic", "W8A8_DYNAMIC", "w8a8-dynamic"},
    {QuantType::kW4A16, "w4a16", "W4A16", "w4a16"},
    {QuantType::kW4A8Dynamic, "w4a8_dynamic", "W4A8_DYNAMIC", "w4a8-dynamic"},
};

const Names& names_of(QuantType type) {
  for (const Names& names : kNames) {
    if (names.type == type) return names;
  }
  return kNames[0];
}

std::optional<QuantType> find(std::string_view name, std::string_view Names::*field) {
  for (const Names& names : kNames) {
    if (names.*field == name) return names.type;
  }
  return std::nullopt;
}

std::optional<QuantType> quantized(std::optional<QuantType> type) {
  return type == QuantType::kFloat ? std::nullopt : type;
}

}  // namespace

std::string_view quant_type_name(QuantType type) { return names_of(type).config; }
std::optional<QuantType> quant_type_from_config(std::string_view name) {
  return quantized(find(name, &Names::config));
}

std::string_view description_name(QuantType type) { return names_of(type).description; }
std::optional<QuantType> quant_type_from_description(std::string_view name) {
  return find(name, &Names::description);
}

std::string_view quant_type_option(QuantType type) { return names_of(type).option; }
std::optional<QuantType> quant_type_from_option(std::string_view name) {
  return quantized(find(name, &Names::option));
}

}  // namespace fathom
