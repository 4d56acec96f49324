#include "quantize/recipe.h"

#include <fnmatch.h>

#include <algorithm>

#include "model/stored_weight.h"

namespace fathom {
namespace {

bool fits(const std::string& pattern, const std::string& name) {
  if (pattern.find_first_of("*?[") == std::string::npos) return name.find(pattern) != std::string::npos;
  return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

bool is_quantizable(const WeightSpec& spec, const Recipe& recipe) {
  if (spec.formats != WeightFormats::kFloatOrQuantized) return false;
  return spec.role != WeightRole::kLmHead || recipe.quantize_head;
}

Status check_pattern(std::span<const WeightSpec> table, const Recipe& recipe, const std::string& pattern,
                     const char* option) {
  const auto fits_spec = [&pattern](const WeightSpec& spec) { return fits(pattern, spec.name); };
  if (std::any_of(table.begin(), table.end(),
                  [&](const WeightSpec& spec) { return is_quantizable(spec, recipe) && fits_spec(spec); }))
    return ok_status();
  const auto any = std::find_if(table.begin(), table.end(), fits_spec);
  if (any == table.end()) return invalid_argument("{}: no tensor's name fits \"{}\"", option, pattern);
  return invalid_argument("{}: \"{}\" fits no tensor that is quantised ({} stays floating{})", option,
                          pattern, any->name,
                          any->role == WeightRole::kLmHead ? " without --quantize-head" : "");
}

// Where gate and up lie in a table: one behind the other (model/weight_table.cc).
Status check_pairs(std::span<const WeightSpec> table, std::span<const QuantType> types) {
  for (size_t i = 1; i < table.size(); ++i) {
    const WeightRole up = table[i].role;
    const bool is_up =
        up == WeightRole::kDenseUp || up == WeightRole::kSharedUp || up == WeightRole::kExpertUp;
    if (!is_up || types[i] == types[i - 1]) continue;
    return invalid_argument(
        "{} would be {} and {} {}: gate and up of one network are multiplied together and need the same type",
        table[i - 1].name, quant_type_option(types[i - 1]), table[i].name, quant_type_option(types[i]));
  }
  return ok_status();
}

// The one type of a part's quantised weights; nullopt where there are several or none, or it is the recipe's.
std::optional<QuantType> other_type(std::span<const WeightSpec> table, std::span<const QuantType> types,
                                    std::string_view part, QuantType recipe_type) {
  std::optional<QuantType> found;
  for (size_t i = 0; i < table.size(); ++i) {
    if (types[i] == QuantType::kFloat || part_name(table[i].role) != part) continue;
    if (found && *found != types[i]) return std::nullopt;
    found = types[i];
  }
  return found == recipe_type ? std::nullopt : found;
}

}  // namespace

Rounding default_rounding(QuantType type) { return is_int4(type) ? Rounding::kSearch : Rounding::kNearest; }

Result<std::vector<QuantType>> assign_types(std::span<const WeightSpec> table, const Recipe& recipe) {
  for (const MixRule& rule : recipe.mix)
    FATHOM_RETURN_IF_ERROR(check_pattern(table, recipe, rule.pattern, "--mix"));
  for (const std::string& pattern : recipe.exclude)
    FATHOM_RETURN_IF_ERROR(check_pattern(table, recipe, pattern, "--exclude"));
  std::vector<QuantType> types;
  bool has_head = false;
  for (const WeightSpec& spec : table) {
    has_head = has_head || spec.role == WeightRole::kLmHead;
    QuantType type = is_quantizable(spec, recipe) ? recipe.type : QuantType::kFloat;
    for (const MixRule& rule : recipe.mix) {
      if (type != QuantType::kFloat && fits(rule.pattern, spec.name)) type = rule.type;
    }
    for (const std::string& pattern : recipe.exclude) {
      if (fits(pattern, spec.name)) type = QuantType::kFloat;
    }
    types.push_back(type);
  }
  if (recipe.quantize_head && !has_head)
    return invalid_argument("--quantize-head: the model has no head of its own, its embeddings are tied");
  FATHOM_RETURN_IF_ERROR(check_pairs(table, types));
  return types;
}

QuantizeKeys quantize_keys(std::span<const WeightSpec> table, std::span<const QuantType> types,
                           const Recipe& recipe) {
  return {recipe.type, other_type(table, types, "attention", recipe.type),
          other_type(table, types, "experts", recipe.type)};
}

Json recipe_json(const Recipe& recipe) {
  Json mix = Json::array();
  for (const MixRule& rule : recipe.mix) mix.push_back({rule.pattern, quant_type_option(rule.type)});
  const char* rounding = "default";
  if (recipe.rounding) rounding = *recipe.rounding == Rounding::kNearest ? "nearest" : "search";
  return {{"type", quant_type_option(recipe.type)},
          {"mix", std::move(mix)},
          {"exclude", recipe.exclude},
          {"quantize_head", recipe.quantize_head},
          {"group_size", recipe.group_size},
          {"rounding", rounding}};
}

}  // namespace fathom
