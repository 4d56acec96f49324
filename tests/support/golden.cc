#include "support/golden.h"

#include <algorithm>
#include <filesystem>

namespace fathom::testing {

std::vector<std::string> golden_variants() {
  std::vector<std::string> variants;
  for (const auto& entry : std::filesystem::directory_iterator(golden_dir(""))) {
    const auto& path = entry.path();
    const bool has_weights = std::filesystem::exists(path / "model.safetensors") ||
                             std::filesystem::exists(path / "model.safetensors.index.json");
    if (has_weights && std::filesystem::exists(path / "golden.safetensors"))
      variants.push_back(path.filename().string());
  }
  std::sort(variants.begin(), variants.end());
  return variants;
}

namespace {

std::vector<int32_t> read_ids(const SafetensorsFile& file, const std::string& name) {
  const auto wide = read_tensor<int64_t>(file, name);
  return {wide.begin(), wide.end()};
}

}  // namespace

Golden read_golden(const std::string& variant) {
  const auto file = SafetensorsFile::open(golden_dir(variant) + "/golden.safetensors");
  if (!file.ok()) {
    ADD_FAILURE() << file.status().message();
    return {};
  }
  return {.ids = read_ids(**file, "ids"),
          .logits = read_tensor<float>(**file, "logits"),
          .greedy = read_ids(**file, "greedy")};
}

}  // namespace fathom::testing
