#include "checkpoint/generation_config.h"

#include <algorithm>

#include "base/file.h"
#include "checkpoint/field_rules.h"

namespace fathom {
namespace {

constexpr JsonLimits kLimits{.max_bytes = size_t{1} << 20, .max_depth = 128};

using G = GenerationConfig;
constexpr FieldRule<GenerationConfig> kRules[] = {
    {"do_sample", &G::do_sample, Presence::kOptional},
    {"temperature", &G::temperature, Presence::kOptional, 0, 2},
    {"top_p", &G::top_p, Presence::kOptional, 0, 1},
    {"top_k", &G::top_k, Presence::kOptional, 0, 4194304},
    {"repetition_penalty", &G::repetition_penalty, Presence::kOptional, 0.01, 2},
};

}  // namespace

Result<GenerationConfig> load_generation_config(const std::string& directory, const ModelConfig& config) {
  GenerationConfig generation;
  generation.bos_token_id = config.bos_token_id;
  generation.eos_token_ids = config.eos_token_ids;
  const std::string path = join_path(directory, "generation_config.json");
  auto json = read_json_file(path, kLimits);
  if (!json.ok() && json.status().code() != ErrorCode::kNotFound) return json.status();
  if (json.ok()) {
    if (!json->is_object()) return invalid_data("{}: not a JSON object", path);
    const std::string where = path + ": ";
    FATHOM_RETURN_IF_ERROR(read_fields<GenerationConfig>(*json, where, kRules, generation));
    if (const Json* bos = find_field(*json, "bos_token_id")) {
      const auto id = read_integer(*bos, 0, static_cast<double>(config.vocab_size - 1));
      if (!id.ok()) return id.status().with_context(where + "bos_token_id");
      generation.bos_token_id = *id;
    }
    const auto eos = read_token_id_list(find_field(*json, "eos_token_id"), config.vocab_size);
    if (!eos.ok()) return eos.status().with_context(where + "eos_token_id");
    generation.eos_token_ids.insert(generation.eos_token_ids.end(), eos->begin(), eos->end());
  }
  auto& ids = generation.eos_token_ids;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return generation;
}

}  // namespace fathom
