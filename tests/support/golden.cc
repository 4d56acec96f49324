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

QuantizedGolden read_quantized_golden(const std::string& variant, const std::string& type) {
  const auto file =
      SafetensorsFile::open(golden_dir("quantized/" + variant + "/" + type) + "/golden.safetensors");
  if (!file.ok()) {
    ADD_FAILURE() << file.status().message();
    return {};
  }
  return {.ids = read_ids(**file, "ids"),
          .logits = read_tensor<float>(**file, "logits"),
          .input_crest = read_tensor<float>(**file, "input_crest").at(0),
          .latent_crest = read_tensor<float>(**file, "latent_crest").at(0)};
}

void assemble_quantized_golden(const std::string& variant, const std::string& type,
                               const std::string& directory) {
  namespace fs = std::filesystem;
  const std::string weights = type.starts_with("w4") ? "quant_model_weight_w4a8_dynamic.safetensors"
                                                     : "quant_model_weight_w8a8_dynamic.safetensors";
  const std::string folder = golden_dir("quantized/" + variant);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder + "/" + type)) {
    if (entry.path().extension() == ".json")
      fs::copy_file(entry.path(), fs::path(directory) / entry.path().filename(), error);
    ASSERT_FALSE(error) << entry.path() << ": " << error.message();
  }
  fs::create_symlink(folder + "/" + weights, fs::path(directory) / weights, error);
  ASSERT_FALSE(error) << directory << ": " << error.message();
}

std::vector<double> position_distances(std::span<const float> ours, std::span<const float> reference,
                                       size_t vocab_size) {
  std::vector<double> distances;
  for (size_t first = 0; first < reference.size(); first += vocab_size) {
    distances.push_back(
        relative_distance(ours.subspan(first, vocab_size), reference.subspan(first, vocab_size)));
  }
  std::sort(distances.begin(), distances.end());
  return distances;
}

}  // namespace fathom::testing
