#include "model/latent_cache.h"

namespace fathom {

Result<LatentCache> LatentCache::create(Backend& backend, const ModelConfig& config,
                                        const LatentCacheOptions& options) {
  LatentCache cache;
  cache.options_ = options;
  cache.latent_dim_ = config.kv_lora_rank;
  cache.rope_dim_ = config.qk_rope_head_dim;
  const auto row_bytes =
      static_cast<size_t>(kernels::latent_row_bytes(options.dtype, cache.latent_dim_, cache.rope_dim_));
  const size_t bytes = static_cast<size_t>(options.num_pages * options.block_size) * row_bytes;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    FATHOM_ASSIGN_OR_RETURN(DeviceBuffer buffer, backend.allocate(bytes));
    cache.layers_.push_back(std::move(buffer));
  }
  return cache;
}

LatentCacheView LatentCache::layer(int64_t layer_index) const {
  return {.data = layers_[static_cast<size_t>(layer_index)].data(),
          .dtype = options_.dtype,
          .rope_dtype = options_.dtype == DType::kInt8 ? options_.rope_dtype : options_.dtype,
          .latent_dim = latent_dim_,
          .rope_dim = rope_dim_,
          .block_size = options_.block_size};
}

}  // namespace fathom
