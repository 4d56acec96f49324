// Rows of the paged latent cache for products: a block a tile of keys, a warp a row at a time. Moves a row of
// R + r elements twice, once read and once written.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/numbers.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpLanes;

struct Launched {
  cuda::GatherLatentsParams gather;
  int64_t row_bytes;  // of the cache
  int block_size;     // of the cache
  bool keeps_integers;
};

FATHOM_KERNEL(kThreads) gather_latents_kernel(Launched launched) {
  begin_kernel();
  const cuda::GatherLatentsParams& p = launched.gather;
  const LatentCacheView& cache = p.cache;
  const cuda::KeyTile tile = p.tiles[block_x()];
  for (int key = warp_index(); key < tile.num_keys; key += kWarps) {
    const int position = tile.first_position + key;
    const int64_t page = p.page_tables[tile.page_table_start + position / launched.block_size];
    const auto* row = static_cast<const unsigned char*>(cache.data) +
                      (page * launched.block_size + position % launched.block_size) * launched.row_bytes;
    const int64_t to = tile.first_row + key;
    for (int64_t i = lane_index(); i < p.latent_stride; i += kWarpLanes) {
      float value = 0;
      if (i < cache.latent_dim)
        value = launched.keeps_integers ? static_cast<float>(static_cast<int8_t>(row[i]))
                                        : load_cached(cache, row, i);
      store_float(p.latents, p.dtype, to * p.latent_stride + i, value);
    }
    for (int64_t i = lane_index(); i < p.rope_stride; i += kWarpLanes)
      store_float(p.rope, p.dtype, to * p.rope_stride + i,
                  i < cache.rope_dim ? load_cached(cache, row, cache.latent_dim + i) : 0.0f);
    if (lane_index() == 0) p.scales[to] = launched.keeps_integers ? latent_scale(cache, row) : 1.0f;
  }
}

}  // namespace

int gather_latents(const cuda::GatherLatentsParams& p, void* stream) {
  const LatentCacheView& cache = p.cache;
  return launch(gather_latents_kernel, {.blocks_x = p.num_tiles, .threads = kThreads, .stream = stream},
                Launched{p, latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim),
                         static_cast<int>(cache.block_size),
                         cache.dtype == DType::kInt8 && p.dtype != DType::kFloat32});
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
