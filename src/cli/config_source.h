// The config that a command line names without asking for weights.
#pragma once

#include <string>

#include "base/status.h"
#include "checkpoint/model_config.h"

namespace fathom {

// source: a known name (deepseek-v2-lite, deepseek-v2), a model folder or a config file, looked for in this
// order. kNotFound where it is none of them.
Result<ModelConfig> find_config(const std::string& source);

}  // namespace fathom
