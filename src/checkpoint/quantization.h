// quant_model_description*.json: which tensors of a quantised checkpoint are int8 or int4 and how their
// layers are meant to be multiplied. Not here: the tensors themselves and whether they are what the
// description says (model/stored_weight.h).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "checkpoint/model_config.h"
#include "checkpoint/quant_type.h"

namespace fathom {

inline constexpr size_t kMaxDescriptionBytes = size_t{64} << 20;

struct QuantEntry {
  std::string tensor;
  QuantType type = QuantType::kFloat;
};

// Const after loading: any thread may read. A value of its own, it refers to nothing.
class QuantDescription {
 public:
  // That of a float checkpoint.
  QuantDescription() = default;

  // Reads quant_model_description.json, or where it is not there quant_model_description_{quantize}.json
  // (without a config's quantize: that of whichever type is there). Not present() where there is none and
  // the config does not ask for one. What the file says of a tensor counts, not the config's quantize, so
  // that edited files work; only mla_quantize (all of self_attn) and moe_quantize (the routed experts) are
  // put over the entries that are not float. Keys without a dot are no tensors and skipped. Refused: a config
  // with quantize but no file, two files of different types, a type other than FLOAT and the four, a tensor
  // twice, anything but the format's JSON, over 64 MiB or 128 levels.
  static Result<QuantDescription> load(const std::string& model_dir, const ModelConfig& config);

  bool present() const { return !path_.empty(); }
  const std::string& path() const { return path_; }
  // nullopt: the file says nothing of the tensor.
  std::optional<QuantType> find(std::string_view tensor) const;

 private:
  std::string path_;
  std::vector<QuantEntry> entries_;  // by tensor
};

// "quant_model_description_w8a16.json"; without a type the name that every type may use.
std::string description_file_name(std::optional<QuantType> type);
// The text of a description file, entries in the order given, in front of them the keys of metadata, an
// object or null; none of its keys has a dot.
std::string write_quant_description(std::span<const QuantEntry> entries, const Json& metadata = nullptr);

}  // namespace fathom
