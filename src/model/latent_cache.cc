#include "model/latent_cache.h"

namespace fathom {

Result<LatentCache> LatentCache::create(Backend& backend, const ModelConfig& config,
                                        const LatentCacheOptions& options) {
  LatentCache cache;
  cache.options_ = options;
  cache.latent_dim_ = config.kv_lora_rank;
  cache.rope_dim_ = config.qk_rope_head_dim;
  const size_t bytes = static_cast<size_t>(options.num_pages * options.block_size) * cache.row_bytes();
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    FATHOM_ASSIGN_OR_RETURN(DeviceBuffer buffer, backend.allocate(bytes));
    cache.layers_.push_back(std::move(buffer));
  }
  return cache;
}

size_t LatentCache::row_bytes() const {
  return static_cast<size_t>(kernels::latent_row_bytes(options_.dtype, latent_dim_, rope_dim_));
}

Status LatentCache::copy_page(Backend& backend, int64_t from, int64_t to, int64_t num_tokens) {
  const size_t page_bytes = static_cast<size_t>(options_.block_size) * row_bytes();
  for (const DeviceBuffer& layer : layers_) {
    auto* data = static_cast<std::byte*>(layer.data());
    FATHOM_RETURN_IF_ERROR(backend.copy(data + static_cast<size_t>(from) * page_bytes,
                                        data + static_cast<size_t>(to) * page_bytes,
                                        static_cast<size_t>(num_tokens) * row_bytes()));
  }
  return ok_status();
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
