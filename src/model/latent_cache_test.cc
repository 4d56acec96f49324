#include "model/latent_cache.h"

#include <gtest/gtest.h>

#include <cstring>

#include "model/memory_plan.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

// In every layer and every format: exactly the rows asked for, to the byte.
TEST(LatentCache, CopiesTheFirstRowsOfAPage) {
  constexpr int64_t kPages = 3;
  constexpr int64_t kBlock = 5;
  const auto backend = make_cpu_backend({.num_threads = 1});
  ASSERT_TRUE(backend.ok());
  const ModelConfig config = testing::tiny_config();
  for (DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kInt8}) {
    auto cache =
        LatentCache::create(**backend, config, {.num_pages = kPages, .block_size = kBlock, .dtype = dtype});
    ASSERT_TRUE(cache.ok());
    const auto row_bytes =
        static_cast<size_t>(kernels::latent_row_bytes(dtype, config.kv_lora_rank, config.qk_rope_head_dim));
    // What is allocated is what was planned.
    EXPECT_EQ(static_cast<uint64_t>(config.num_hidden_layers) * row_bytes,
              cache_bytes_per_token(config, dtype));
    const size_t bytes = kPages * kBlock * row_bytes;
    std::vector<std::vector<unsigned char>> expected;
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      auto* data = static_cast<unsigned char*>(cache->layer(layer).data);
      for (size_t i = 0; i < bytes; ++i)
        data[i] = static_cast<unsigned char>(i * 7 + static_cast<size_t>(layer));
      expected.emplace_back(data, data + bytes);
      std::memcpy(expected.back().data(), data + 2 * kBlock * row_bytes, 3 * row_bytes);
    }
    ASSERT_TRUE(cache->copy_page(**backend, 2, 0, 3).ok());
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      const auto* data = static_cast<const unsigned char*>(cache->layer(layer).data);
      EXPECT_EQ(std::memcmp(data, expected[static_cast<size_t>(layer)].data(), bytes), 0)
          << dtype_name(dtype) << " layer " << layer;
    }
  }
}

}  // namespace
}  // namespace fathom
