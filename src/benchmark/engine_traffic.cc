#include "benchmark/engine_traffic.h"

#include "engine/engine_ranks.h"
#include "model/rank_weights.h"
#include "model/stored_weight.h"

namespace fathom {

DType cache_dtype(const EngineOptions& options, const ModelConfig& config) {
  return options.kv_cache_dtype.value_or(options.dtype.value_or(config.torch_dtype));
}

Result<ModelTraffic> read_traffic(const EngineOptions& options, const ModelConfig& config) {
  const Sharding sharding = sharding_of(options);
  FATHOM_RETURN_IF_ERROR(check_sharding(config, sharding));
  FATHOM_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(options.model_dir, sharding));
  FATHOM_ASSIGN_OR_RETURN(const QuantDescription description,
                          QuantDescription::load(options.model_dir, config));
  FATHOM_RETURN_IF_ERROR(check_weights(*checkpoint, config, description));
  return describe_traffic(config, weight_groups(config, sharding, *checkpoint, description),
                          cache_dtype(options, config), sharding);
}

}  // namespace fathom
