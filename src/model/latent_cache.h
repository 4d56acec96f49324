// The paged latent cache of all layers: one device buffer a layer of [num_pages * block_size, R + r] rows.
// Which page belongs to whom is the integer world's business (cache/).
#pragma once

#include <vector>

#include "checkpoint/model_config.h"
#include "device/backend.h"

namespace fathom {

struct LatentCacheOptions {
  int64_t num_pages = 0;
  int64_t block_size = 128;
  DType dtype = DType::kBFloat16;
  DType rope_dtype = DType::kBFloat16;  // of the rotated keys where dtype is kInt8: bf16 or fp16
};

class LatentCache {
 public:
  static Result<LatentCache> create(Backend& backend, const ModelConfig& config,
                                    const LatentCacheOptions& options);

  LatentCacheView layer(int64_t layer_index) const;
  // Copies the rows of a page's first num_tokens tokens to another page, in every layer. Pages are in
  // [0, num_pages) and differ; num_tokens <= block_size.
  Status copy_page(Backend& backend, int64_t from, int64_t to, int64_t num_tokens);
  const LatentCacheOptions& options() const { return options_; }

 private:
  size_t row_bytes() const;

  LatentCacheOptions options_;
  int64_t latent_dim_ = 0;
  int64_t rope_dim_ = 0;
  std::vector<DeviceBuffer> layers_;
};

}  // namespace fathom
