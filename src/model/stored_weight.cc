#include "model/stored_weight.h"

#include <algorithm>
#include <cmath>

#include <fmt/ranges.h>

#include "base/check.h"
#include "kernels/ref/numbers.h"
#include "model/rank_weights.h"

namespace fathom {
namespace {

constexpr uint8_t kMaxFactor = 15;

Result<TensorView> find_weight(const Checkpoint& checkpoint, const WeightSpec& spec) {
  if (!checkpoint.contains(spec.name)) {
    return not_found("{}: has no tensor \"{}\", expected {} as config.json asks for", checkpoint.directory(),
                     spec.name, to_string(spec.shape));
  }
  FATHOM_ASSIGN_OR_RETURN(const TensorView view, checkpoint.tensor(spec.name));
  const bool quantizable = spec.formats == WeightFormats::kFloatOrQuantized;
  const bool is_quantized = view.dtype == DType::kInt8 || view.dtype == DType::kUint8;
  if (!is_floating(view.dtype) && !(quantizable && is_quantized)) {
    return unsupported("{}: tensor \"{}\" has dtype {}, expected {}", checkpoint.file_of(spec.name),
                       spec.name, safetensors_name(view.dtype),
                       quantizable ? "BF16, F16, F32, I8 or U8" : "BF16, F16 or F32");
  }
  const bool int4 = view.dtype == DType::kUint8;
  if (int4 && spec.shape[1] % 2 != 0) {
    return unsupported("{}: tensor \"{}\" is int4 with {} inputs, which must be an even number",
                       checkpoint.file_of(spec.name), spec.name, spec.shape[1]);
  }
  const Shape expected = int4 ? Shape{spec.shape[0], spec.shape[1] / 2} : spec.shape;
  if (view.shape != expected) {
    return invalid_data("{}: tensor \"{}\" has shape {}, expected {} as config.json asks for{}",
                        checkpoint.file_of(spec.name), spec.name, to_string(view.shape), to_string(expected),
                        int4 ? " with two int4 a byte" : "");
  }
  return view;
}

// "int8", "int4" or the floating type of a tensor's data.
std::string_view stored_name(DType dtype) {
  if (dtype == DType::kUint8) return "int4";
  return dtype == DType::kInt8 ? "int8" : safetensors_name(dtype);
}

// What the description says of a tensor, where that agrees with how the tensor is stored.
Result<QuantType> find_type(const Checkpoint& checkpoint, const QuantDescription& description,
                            const WeightSpec& spec, DType dtype) {
  const auto entry = description.find(weight_name(spec.role, spec.layer, spec.expert));
  if (!is_floating(dtype) && !description.present()) {
    return not_found(
        "{}: tensor \"{}\" is {}, and the folder has no {} that says how to use it: copy it from the "
        "quantised "
        "model",
        checkpoint.file_of(spec.name), spec.name, stored_name(dtype), description_file_name(std::nullopt));
  }
  if (!is_floating(dtype) && !entry) {
    return invalid_data("{}: has no entry for tensor \"{}\", which is {} in {}", description.path(),
                        spec.name, stored_name(dtype), checkpoint.file_of(spec.name));
  }
  const QuantType type = entry.value_or(QuantType::kFloat);
  const bool agrees = type == QuantType::kFloat ? is_floating(dtype)
                                                : dtype == (is_int4(type) ? DType::kUint8 : DType::kInt8);
  if (agrees) return type;
  return invalid_data("{}: tensor \"{}\" is {}, but {} in {}", description.path(), spec.name,
                      description_name(type), stored_name(dtype), checkpoint.file_of(spec.name));
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

// The second level of an int4 weight. Group sizes that give the same shape mean the same.
Status find_factors(const Checkpoint& checkpoint, const WeightSpec& spec, StoredWeight& stored) {
  const std::string name = factors_name(spec.name);
  if (!checkpoint.contains(name)) {
    return not_found("{}: has no tensor \"{}\", which the int4 tensor \"{}\" needs", checkpoint.directory(),
                     name, spec.name);
  }
  FATHOM_ASSIGN_OR_RETURN(stored.factors, checkpoint.tensor(name));
  if (stored.factors.dtype != DType::kUint8) {
    return unsupported("{}: tensor \"{}\" has dtype {}, expected U8", checkpoint.file_of(name), name,
                       safetensors_name(stored.factors.dtype));
  }
  std::vector<std::string> shapes;
  for (int64_t size : kGroupSizes) {
    const Shape shape = {spec.shape[0], num_groups(spec.shape[1], size)};
    if (stored.factors.shape == shape) {
      stored.group_size = size;
      return ok_status();
    }
    shapes.push_back(to_string(shape));
  }
  return invalid_data("{}: tensor \"{}\" has shape {}, expected {} for groups of 32, 64 or 128 inputs",
                      checkpoint.file_of(name), name, to_string(stored.factors.shape),
                      fmt::join(shapes, " or "));
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

Status check_factor_values(const Checkpoint& checkpoint, const WeightSpec& spec, const TensorView& factors) {
  const auto* values = static_cast<const uint8_t*>(factors.data);
  const int64_t row_size = factors.shape[1];
  for (int64_t i = 0; i < factors.shape.num_elements(); ++i) {
    if (values[i] <= kMaxFactor) continue;
    const std::string name = factors_name(spec.name);
    return invalid_data("{}: tensor \"{}\" has {} in row {}, group {}, a factor is at most {}",
                        checkpoint.file_of(name), name, values[i], i / row_size, i % row_size, kMaxFactor);
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

}  // namespace

std::string_view storage_name(DType dtype) { return dtype == DType::kUint8 ? "int4" : dtype_name(dtype); }

std::string_view part_name(WeightRole role) {
  switch (role) {
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

std::string scale_name(std::string_view weight_name) { return fmt::format("{}_scale", weight_name); }
std::string offset_name(std::string_view weight_name) { return fmt::format("{}_offset", weight_name); }
std::string factors_name(std::string_view weight_name) { return fmt::format("{}_scale_second", weight_name); }

Result<StoredWeight> stored_weight(const Checkpoint& checkpoint, const QuantDescription& description,
                                   const WeightSpec& spec) {
  StoredWeight stored;
  FATHOM_ASSIGN_OR_RETURN(stored.tensor, find_weight(checkpoint, spec));
  FATHOM_ASSIGN_OR_RETURN(stored.type, find_type(checkpoint, description, spec, stored.tensor.dtype));
  if (stored.type == QuantType::kFloat) return stored;
  const std::string scale = scale_name(spec.name);
  if (!checkpoint.contains(scale)) {
    return not_found("{}: has no tensor \"{}\", which the {} tensor \"{}\" needs", checkpoint.directory(),
                     scale, stored_name(stored.tensor.dtype), spec.name);
  }
  FATHOM_ASSIGN_OR_RETURN(stored.scale, find_per_row(checkpoint, scale, spec.shape[0]));
  if (is_int4(stored.type)) FATHOM_RETURN_IF_ERROR(find_factors(checkpoint, spec, stored));
  return stored;
}

Status check_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                     const QuantDescription& description) {
  for (const WeightSpec& spec : stored_table(checkpoint, config)) {
    FATHOM_ASSIGN_OR_RETURN(const StoredWeight stored, stored_weight(checkpoint, description, spec));
    if (stored.type == QuantType::kFloat) continue;
    FATHOM_RETURN_IF_ERROR(check_scale_values(checkpoint, spec, stored.scale));
    FATHOM_RETURN_IF_ERROR(check_offset_values(checkpoint, spec));
    if (is_int4(stored.type)) FATHOM_RETURN_IF_ERROR(check_factor_values(checkpoint, spec, stored.factors));
  }
  return ok_status();
}

std::vector<std::string> unused_tensors(const Checkpoint& checkpoint, const ModelConfig& config) {
  std::vector<std::string> used;
  for (WeightSpec& spec : stored_table(checkpoint, config)) {
    const auto view = checkpoint.tensor(spec.name);
    if (view.ok() && !is_floating(view->dtype)) {
      used.push_back(scale_name(spec.name));
      used.push_back(offset_name(spec.name));
      if (view->dtype == DType::kUint8) used.push_back(factors_name(spec.name));
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

}  // namespace fathom
