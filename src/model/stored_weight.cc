#include "model/stored_weight.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/ref/numbers.h"

namespace fathom {
namespace {

Result<TensorView> find_weight(const Checkpoint& checkpoint, const WeightSpec& spec) {
  if (!checkpoint.contains(spec.name)) {
    return not_found("{}: has no tensor \"{}\", expected {} as config.json asks for", checkpoint.directory(),
                     spec.name, to_string(spec.shape));
  }
  FATHOM_ASSIGN_OR_RETURN(const TensorView view, checkpoint.tensor(spec.name));
  if (view.shape != spec.shape) {
    return invalid_data("{}: tensor \"{}\" has shape {}, expected {} as config.json asks for",
                        checkpoint.file_of(spec.name), spec.name, to_string(view.shape),
                        to_string(spec.shape));
  }
  const bool may_be_int8 = spec.formats == WeightFormats::kFloatOrInt8;
  if (!is_floating(view.dtype) && !(may_be_int8 && view.dtype == DType::kInt8)) {
    return unsupported("{}: tensor \"{}\" has dtype {}, expected {}", checkpoint.file_of(spec.name),
                       spec.name, safetensors_name(view.dtype),
                       may_be_int8 ? "BF16, F16, F32 or I8" : "BF16, F16 or F32");
  }
  return view;
}

// What the description says of a tensor, where that agrees with how the tensor is stored.
Result<QuantType> find_type(const Checkpoint& checkpoint, const QuantDescription& description,
                            const WeightSpec& spec, DType dtype) {
  const auto entry = description.find(spec.name);
  if (dtype != DType::kInt8) {
    if (entry.value_or(QuantType::kFloat) == QuantType::kFloat) return QuantType::kFloat;
    return invalid_data("{}: tensor \"{}\" is {}, but {} in {}", description.path(), spec.name,
                        description_name(*entry), safetensors_name(dtype), checkpoint.file_of(spec.name));
  }
  if (!description.present()) {
    return not_found(
        "{}: tensor \"{}\" is int8, and the folder has no {} that says how to use it: copy it from the "
        "quantised "
        "model",
        checkpoint.file_of(spec.name), spec.name, description_file_name(std::nullopt));
  }
  if (!entry) {
    return invalid_data("{}: has no entry for tensor \"{}\", which is int8 in {}", description.path(),
                        spec.name, checkpoint.file_of(spec.name));
  }
  if (*entry == QuantType::kFloat) {
    return invalid_data("{}: tensor \"{}\" is FLOAT, but int8 in {}", description.path(), spec.name,
                        checkpoint.file_of(spec.name));
  }
  return *entry;
}

// A scale or offset: one number per row.
Result<TensorView> find_per_row(const Checkpoint& checkpoint, const std::string& name, int64_t num_rows) {
  FATHOM_ASSIGN_OR_RETURN(const TensorView view, checkpoint.tensor(name));
  if (view.shape != Shape{num_rows} && view.shape != Shape{num_rows, 1}) {
    return invalid_data("{}: tensor \"{}\" has shape {}, expected [{}, 1] or [{}]", checkpoint.file_of(name),
                        name, to_string(view.shape), num_rows, num_rows);
  }
  if (!is_floating(view.dtype)) {
    return unsupported("{}: tensor \"{}\" has dtype {}, expected F32, BF16 or F16", checkpoint.file_of(name),
                       name, safetensors_name(view.dtype));
  }
  return view;
}

float element(const TensorView& view, int64_t index) {
  return kernels::ref::load_element(view.data, view.dtype, index);
}

Status check_scale_values(const Checkpoint& checkpoint, const WeightSpec& spec, const TensorView& scale) {
  for (int64_t row = 0; row < scale.shape[0]; ++row) {
    const float value = element(scale, row);
    if (std::isfinite(value) && value >= 0) continue;
    const std::string name = scale_name(spec.name);
    return invalid_data("{}: tensor \"{}\" has {} in row {}, a scale is finite and not negative",
                        checkpoint.file_of(name), name, value, row);
  }
  return ok_status();
}

Status check_offset_values(const Checkpoint& checkpoint, const WeightSpec& spec) {
  const std::string name = offset_name(spec.name);
  if (!checkpoint.contains(name)) return ok_status();
  FATHOM_ASSIGN_OR_RETURN(const TensorView offset, find_per_row(checkpoint, name, spec.shape[0]));
  for (int64_t row = 0; row < offset.shape[0]; ++row) {
    const float value = element(offset, row);
    if (value == 0) continue;
    return unsupported(
        "{}: tensor \"{}\" has {} in row {}, only symmetric quantisation with offset 0 is supported",
        checkpoint.file_of(name), name, value, row);
  }
  return ok_status();
}

std::string_view part_of(const WeightSpec& spec) {
  switch (spec.role) {
    case WeightRole::kDenseGate:
    case WeightRole::kDenseUp:
    case WeightRole::kDenseDown:
      return "dense";
    case WeightRole::kSharedGate:
    case WeightRole::kSharedUp:
    case WeightRole::kSharedDown:
      return "shared experts";
    case WeightRole::kExpertGate:
    case WeightRole::kExpertUp:
    case WeightRole::kExpertDown:
      return "experts";
    case WeightRole::kLmHead:
      return "head";
    default:
      return "attention";
  }
}

}  // namespace

std::string scale_name(std::string_view weight_name) { return fmt::format("{}_scale", weight_name); }
std::string offset_name(std::string_view weight_name) { return fmt::format("{}_offset", weight_name); }

Result<StoredWeight> stored_weight(const Checkpoint& checkpoint, const QuantDescription& description,
                                   const WeightSpec& spec) {
  StoredWeight stored;
  FATHOM_ASSIGN_OR_RETURN(stored.tensor, find_weight(checkpoint, spec));
  FATHOM_ASSIGN_OR_RETURN(stored.type, find_type(checkpoint, description, spec, stored.tensor.dtype));
  if (stored.type == QuantType::kFloat) return stored;
  const std::string scale = scale_name(spec.name);
  if (!checkpoint.contains(scale)) {
    return not_found("{}: has no tensor \"{}\", which the int8 tensor \"{}\" needs", checkpoint.directory(),
                     scale, spec.name);
  }
  FATHOM_ASSIGN_OR_RETURN(stored.scale, find_per_row(checkpoint, scale, spec.shape[0]));
  return stored;
}

Status check_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                     const QuantDescription& description) {
  for (const WeightSpec& spec : weight_table(config)) {
    FATHOM_ASSIGN_OR_RETURN(const StoredWeight stored, stored_weight(checkpoint, description, spec));
    if (stored.type == QuantType::kFloat) continue;
    FATHOM_RETURN_IF_ERROR(check_scale_values(checkpoint, spec, stored.scale));
    FATHOM_RETURN_IF_ERROR(check_offset_values(checkpoint, spec));
  }
  return ok_status();
}

std::vector<std::string> unused_tensors(const Checkpoint& checkpoint, const ModelConfig& config) {
  std::vector<std::string> used;
  for (WeightSpec& spec : weight_table(config)) {
    const auto view = checkpoint.tensor(spec.name);
    if (view.ok() && view->dtype == DType::kInt8) {
      used.push_back(scale_name(spec.name));
      used.push_back(offset_name(spec.name));
    }
    used.push_back(std::move(spec.name));
  }
  std::sort(used.begin(), used.end());
  std::vector<std::string> unused;
  for (std::string_view name : checkpoint.names()) {
    if (std::binary_search(used.begin(), used.end(), name)) continue;
    if (name.ends_with(".rotary_emb.inv_freq")) continue;
    if (config.tie_word_embeddings && name.starts_with("lm_head.")) continue;
    unused.emplace_back(name);
  }
  return unused;
}

std::vector<QuantizedPart> quantized_parts(const Checkpoint& checkpoint, const ModelConfig& config,
                                           const QuantDescription& description) {
  constexpr std::string_view kParts[] = {"attention", "dense", "experts", "shared experts", "head"};
  constexpr QuantType kTypes[] = {QuantType::kFloat, QuantType::kW8A16, QuantType::kW8A8Dynamic};
  std::vector<QuantizedPart> parts;
  for (std::string_view part : kParts) {
    for (QuantType type : kTypes) parts.push_back({part, type, 0});
  }
  for (const WeightSpec& spec : weight_table(config)) {
    if (spec.formats == WeightFormats::kFloat) continue;
    const auto stored = stored_weight(checkpoint, description, spec);
    FATHOM_CHECK(stored.ok(), "{}", stored.status().message());
    for (QuantizedPart& part : parts) {
      if (part.part == part_of(spec) && part.type == stored->type) ++part.num_tensors;
    }
  }
  std::erase_if(parts, [](const QuantizedPart& part) { return part.num_tensors == 0; });
  return parts;
}

}  // namespace fathom
