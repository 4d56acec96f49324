// The golden checkpoints of tests/golden: where they are and what the reference computed for them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace fathom::testing {

inline std::string golden_dir(const std::string& variant) {
  return std::string(FATHOM_SOURCE_DIR) + "/tests/golden/" + variant;
}

// Every variant with a model.safetensors or an index of its own.
std::vector<std::string> golden_variants();

template <typename T>
std::vector<T> read_tensor(const SafetensorsFile& file, const std::string& name) {
  const auto view = file.tensor(name);
  if (!view.ok()) {
    ADD_FAILURE() << view.status().message();
    return {};
  }
  std::vector<T> values(static_cast<size_t>(view->shape.num_elements()));
  std::memcpy(values.data(), view->data, values.size() * sizeof(T));
  return values;
}

struct Golden {
  std::vector<int32_t> ids;
  std::vector<float> logits;  // [T, vocab]
  std::vector<int32_t> greedy;
};

Golden read_golden(const std::string& variant);

// A quantised form of a golden checkpoint, tests/golden/quantized/<variant>/<type>.
struct QuantizedGolden {
  std::vector<int32_t> ids;
  std::vector<float> logits;  // [T, vocab]
  // Root mean square of max|x| / rms(x) over the rows that quantised layers multiply, and over the cached
  // latents: what a rounding relative to the row's largest value costs relative to the row.
  double input_crest = 0;
  double latent_crest = 0;
};

QuantizedGolden read_quantized_golden(const std::string& variant, const std::string& type);

// Puts the checkpoint together in an empty folder: the type's config and description, a link to the weights
// that all types of the variant and width share.
void assemble_quantized_golden(const std::string& variant, const std::string& type,
                               const std::string& directory);

// ‖a - b‖ / ‖b‖
inline double relative_distance(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / norm);
}

// The same of each position's logits, ascending.
std::vector<double> position_distances(std::span<const float> ours, std::span<const float> reference,
                                       size_t vocab_size);

}  // namespace fathom::testing
