// generation_config.json: what a model's makers recommend for sampling, and every token that ends an answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/model_config.h"

namespace fathom {

// Initial values are those of an absent file or key.
struct GenerationConfig {
  std::optional<int64_t> bos_token_id;
  std::vector<int64_t> eos_token_ids;  // of both files, ascending; any of them ends generation
  bool do_sample = false;
  double temperature = 1;
  double top_p = 1;
  int64_t top_k = 0;  // 0: no limit
  double repetition_penalty = 1;
};

// Reads directory/generation_config.json where there is one and adds the ids of config.
Result<GenerationConfig> load_generation_config(const std::string& directory, const ModelConfig& config);

}  // namespace fathom
