// What an engine with given options reads and computes: the model in its folder, of one rank.
#pragma once

#include "benchmark/traffic.h"
#include "engine/engine.h"

namespace fathom {

// The model's own dtype where the options leave it open, as the engine chooses.
DType cache_dtype(const EngineOptions& options, const ModelConfig& config);

// config: of the options' folder. Failure: the folder's files.
Result<ModelTraffic> read_traffic(const EngineOptions& options, const ModelConfig& config);

}  // namespace fathom
