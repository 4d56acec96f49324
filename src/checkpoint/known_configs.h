// The released models' configurations by name, for making random checkpoints of their sizes.
#pragma once

#include <optional>
#include <string_view>

#include "checkpoint/model_config.h"

namespace fathom {

// "deepseek-v2-lite" or "deepseek-v2"; nullopt for any other name.
std::optional<ModelConfig> known_config(std::string_view name);

}  // namespace fathom
