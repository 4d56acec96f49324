// Absorbed attention on tensor cores. A block takes one split of the keys of a row, or of a few rows that
// follow each other in a sequence, and 16, 32 or 64 lines: pairs of a row and a head, which are the rows of
// mma.sync's left operand. Keys come in tiles of 32, copied to shared memory while the tile
// before is multiplied; a tile's latents are also the values.
//
//   warp = (group of 16 or 32 heads, slice): a slice takes every fourth pair of chunks of the rows, whose
//   part of the queries it holds in registers, for all 32 keys; then the scores of 8 keys, adding the four
//   slices' parts in order; then 128 of the 512 outputs.
//
// Scores are float32 sums, weighed relative to the running maximum by tiles of 32 keys from the split's
// beginning on: a head's bits depend on its own query and its keys alone. int8 latents are exact in 16 bits;
// their row's scale goes onto the score's latent part and onto the weight.
//
// R 512, r 64: a key is 1152 bytes (int8: 644) and 2 * 1088 operations a head. 16 heads make 30 operations a
// byte (int8 54): bound by memory, 2 or 3 blocks an SM keep 70 KiB on their way. 64 heads make 121 (216),
// 128 heads in two blocks that run together read a tile from memory once: bound by the tensor cores, with
// shared memory close behind (8 KiB a key at 128 bytes a clock take 64 clocks, its products 52).
#include "kernels/cuda/absorbed.h"

#include "kernels/cuda/absorbed_variant.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

using cuda::kChunkBytes;

template <typename V>
class Block {
 public:
  FATHOM_DEVICE Block(const Launched& launched, const cuda::SplitItem& item, int first_line)
      : launched_(launched),
        layout_(launched.layout),
        item_(item),
        room_(SharedMemory(), launched.layout),
        first_line_(first_line),
        num_keys_(item.key_end - item.key_begin),
        slice_(warp_index() % kSlices),
        group_(warp_index() / kSlices),
        place_(lane_index() % 16 * launched.layout.row_stride +
               ((2 * slice_ + lane_index() / 16) ^ lane_index() % 8) * kChunkBytes) {
    for (int i = thread_index(); i < Room<V>::kTops; i += V::kThreads) {
      if (i < V::kLines) room_.tops[i] = bits_to_float(kMinusInfinity);
      room_.sums[i] = 0;
    }
  }

  FATHOM_DEVICE void run() {
    load_rows(0);
    copy_tile(0);
    load_rows(1);
    load_queries();
    const int num_tiles = (num_keys_ + kTileKeys - 1) / kTileKeys;
    for (int tile = 0; tile < num_tiles; ++tile) {
      wait_copies<0>();
      sync_threads();  // the tile is here, and the one before is done with
      if (tile + 1 < num_tiles) {
        copy_tile(tile + 1);
        load_rows(tile + 2);
      }
      multiply_keys(tile % kStages);
      sync_threads();
      add_slices(tile);
      sync_threads();
      weigh(tile);
      sync_threads();
      multiply_values(tile % kStages);
    }
    write(num_tiles);
  }

 private:
  static constexpr int kTiles = V::kTiles;
  static constexpr int kLatentPairs = V::kIsInt8 ? 4 : 8;  // of a slice, at most; and one rotated pair
  static constexpr int kPairSteps = V::kIsInt8 ? 2 : 1;    // of 16 elements, of a latent pair
  static constexpr int kSteps = kLatentPairs * kPairSteps + 1;
  static constexpr int kPairStep = 2 * kSlices * kChunkBytes;  // bytes from a slice's pair to its next

  // A lane's row and columns in a tile of 16 rows and 8 columns: rows row() and row() + 8, columns column()
  // (+1).
  static FATHOM_DEVICE int row() { return lane_index() / 4; }
  static FATHOM_DEVICE int column() { return lane_index() % 4 * 2; }
  // Of the block: a row and a head.
  FATHOM_DEVICE int line(int tile, int half) const {
    return (group_ * kTiles + tile) * 16 + half * 8 + row();
  }
  FATHOM_DEVICE bool has_line(int line) const {
    return first_line_ + line < item_.num_rows * launched_.batch.num_heads;
  }
  FATHOM_DEVICE int64_t width() const {
    return launched_.batch.cache.latent_dim + launched_.batch.cache.rope_dim;
  }
  FATHOM_DEVICE const float* query(int line) const {
    return launched_.batch.q + (item_.row * launched_.batch.num_heads + first_line_ + line) * width();
  }

  // The cache's row of a tile's key, by lane; a cache has fewer than 2^31 rows.
  FATHOM_DEVICE void load_rows(int tile) {
    const int64_t block_size = launched_.batch.cache.block_size;
    const int key = tile * kTileKeys + lane_index();
    row_ = 0;
    if (key >= num_keys_) return;
    const int position = item_.key_begin + key;
    const int page = launched_.batch.page_tables[item_.page_table_start + position / block_size];
    row_ = static_cast<int32_t>(page * block_size + position % block_size);
  }

  // Begins copying the tile whose rows were loaded last; keys beyond the split and padding become 0.
  FATHOM_DEVICE void copy_tile(int tile) {
    const auto* cache = static_cast<const unsigned char*>(launched_.batch.cache.data);
    const int stage = tile % kStages;
    const int left = num_keys_ - tile * kTileKeys;
    const auto latent_bytes = static_cast<int>(launched_.batch.cache.latent_dim) * (V::kIsInt8 ? 1 : 2);
    const auto rope_bytes = static_cast<int>(launched_.batch.cache.rope_dim) * 2;
    const int latent_room = layout_.latent_pairs * 2 * kChunkBytes;
    FATHOM_KEEP_ROLLED
    for (int key = warp_index(); key < kTileKeys; key += V::kThreads / kWarpLanes) {
      const unsigned char* from = cache + shuffle(row_, key) * launched_.row_bytes;
      const int to = key_place(stage, key);
      copy_part<cuda::kMaxAbsorbedLatent*(V::kIsInt8 ? 1 : 2)>(to, key, from, key < left ? latent_bytes : 0,
                                                               latent_room);
      copy_part<cuda::kMaxAbsorbedRope * 2>(to + latent_room, key, from + latent_bytes,
                                            key < left ? rope_bytes : 0,
                                            layout_.rope_pairs * 2 * kChunkBytes);
    }
    if constexpr (V::kIsInt8) {
      if (warp_index() == 0)
        copy_async_4(room_.key_scales, stage * kTileKeys + lane_index(),
                     cache + (row_ + 1) * launched_.row_bytes - sizeof(float), lane_index() < left ? 4 : 0);
    }
    commit_copies();
  }

  // `bytes` of a key's row, and zeros up to `room`.
  template <int64_t kMaxBytes>
  FATHOM_DEVICE void copy_part(int to, int key, const unsigned char* from, int bytes, int room) const {
    constexpr int kUnit = V::kIsInt8 ? 4 : kChunkBytes;
    constexpr int kStep = kWarpLanes * kUnit;  // whole groups of 8 chunks
    const int first = lane_index() * kUnit;
    const int place = to + ((first / kChunkBytes ^ key % 8) * kChunkBytes | first % kChunkBytes);
    FATHOM_UNROLL
    for (int i = 0; i < (kMaxBytes + kStep - 1) / kStep; ++i) {
      const int at = first + i * kStep;
      if (at >= room) continue;
      if constexpr (V::kIsInt8) {
        copy_async_4(room_.keys, place + i * kStep, from + at, at < bytes ? kUnit : 0);
      } else {
        copy_async_16(room_.keys, place + i * kStep, from + at, at < bytes ? kUnit : 0);
      }
    }
  }

  FATHOM_DEVICE int key_place(int stage, int key) const {
    return (stage * kTileKeys + key) * layout_.row_stride;
  }

  FATHOM_DEVICE void load_queries() {
    if constexpr (V::Query::kNeedsScale) scale_queries();
    const auto latent_dim = static_cast<int>(launched_.batch.cache.latent_dim);
    FATHOM_UNROLL
    for (int m = 0; m < kTiles; ++m) {
      FATHOM_UNROLL
      for (int i = 0; i < kLatentPairs; ++i) {
        FATHOM_UNROLL
        for (int j = 0; j < kPairSteps; ++j) {
          const int first = ((slice_ + i * kSlices) * kPairSteps + j) * 16;
          load_step(m, i * kPairSteps + j, first, V::kIsInt8 ? 2 : 1, latent_dim);
        }
      }
      load_step(m, kSteps - 1, latent_dim + slice_ * 16, 1, static_cast<int>(width()));
    }
  }

  // Elements first + .. of a step: of 16-bit rows a lane's words are columns (0, 1) and (8, 9) of its own,
  // of int8 rows the halves of a word of four.
  FATHOM_DEVICE void load_step(int m, int step, int first, int spread, int limit) {
    FATHOM_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int at = first + column() * spread + (spread == 1 ? i / 2 * 8 : i / 2 * 2);
      const int l = line(m, i % 2);
      const bool valid = has_line(l) && at < limit;
      const float low = valid ? query(l)[at] : 0.0f;
      const float high = valid ? query(l)[at + 1] : 0.0f;
      const float inverse = V::Query::kNeedsScale ? 1.0f / query_scale(l) : 1.0f;
      q_[m][step][i] = V::Query::rounded(low * inverse, high * inverse);
    }
  }

  FATHOM_DEVICE void scale_queries() {
    for (int l = warp_index(); l < V::kLines; l += V::kThreads / kWarpLanes) {
      float largest = 0;
      for (int i = lane_index(); has_line(l) && i < width(); i += kWarpLanes)
        largest = magnitude(query(l)[i]) > largest ? magnitude(query(l)[i]) : largest;
      const uint32_t exponent = float_to_bits(warp_max(largest)) >> 23;
      if (lane_index() == 0)
        room_.query_scales[l] = bits_to_float((exponent > 14 ? exponent - 14 : 1u) << 23);
    }
    sync_threads();
  }
  FATHOM_DEVICE float query_scale(int line) const {
    if constexpr (V::Query::kNeedsScale) return room_.query_scales[line];
    return 1.0f;
  }

  // For its owner, from the slice so many after it.
  FATHOM_DEVICE int exchange_place(int owner, int after, int m) const {
    return (((owner * (kSlices - 1) + after - 1) * V::kGroups + group_) * kTiles + m) * kWarpLanes +
           lane_index();
  }

  // This slice's part of the scores, 16 keys at a time: its own 8 keys' stay, the others' go to their owners.
  FATHOM_DEVICE void multiply_keys(int stage) {
    FATHOM_KEEP_ROLLED
    for (int half = 0; half < kTileKeys / 16; ++half) {
      float scores[kTiles][2][4] = {};
      const int place = key_place(stage, half * 16) + place_;
      multiply_latents(place, scores);
      if constexpr (V::kIsInt8) scale_scores(stage, half, scores);
      if (slice_ < layout_.rope_pairs) {
        uint32_t words[4];
        load_matrices(words, room_.keys, place + layout_.latent_pairs * 2 * kChunkBytes);
        multiply_step(words, kSteps - 1, scores);
      }
      FATHOM_UNROLL
      for (int n = 0; n < 2; ++n) {
        const int owner = half * 2 + n;
        FATHOM_UNROLL
        for (int m = 0; m < kTiles; ++m) {
          if (owner == slice_) {
            FATHOM_UNROLL
            for (int i = 0; i < 4; ++i) own_[m][i] = scores[m][n][i];
          } else {
            Quad quad;
            FATHOM_UNROLL
            for (int i = 0; i < 4; ++i) quad.words[i] = float_to_bits(scores[m][n][i]);
            room_.exchange[exchange_place(owner, (slice_ + kSlices - owner) % kSlices, m)] = quad;
          }
        }
      }
    }
  }

  FATHOM_DEVICE void multiply_latents(int place, float (&scores)[kTiles][2][4]) {
    FATHOM_UNROLL
    for (int begin = 0; begin < kLatentPairs; begin += cuda::kSectionPairs) {
      if (begin * kSlices >= layout_.latent_pairs) continue;
      FATHOM_UNROLL
      for (int i = begin; i < begin + cuda::kSectionPairs; ++i) {
        uint32_t words[4];
        load_matrices(words, room_.keys, place + i * kPairStep);
        if constexpr (V::kIsInt8) {
          FATHOM_UNROLL
          for (int c = 0; c < 2; ++c) {
            const uint32_t parts[4] = {V::Query::template from_bytes<0, 1>(words[2 * c]),
                                       V::Query::template from_bytes<0, 1>(words[2 * c + 1]),
                                       V::Query::template from_bytes<2, 3>(words[2 * c]),
                                       V::Query::template from_bytes<2, 3>(words[2 * c + 1])};
            multiply_step(parts, 2 * i + c, scores);
          }
        } else {
          multiply_step(words, i, scores);
        }
      }
    }
  }

  // Words [chunk of a pair][8 keys] are those of the right operand.
  FATHOM_DEVICE void multiply_step(const uint32_t (&words)[4], int step, float (&scores)[kTiles][2][4]) {
    FATHOM_UNROLL
    for (int n = 0; n < 2; ++n) {
      const uint32_t b[2] = {words[n], words[2 + n]};
      FATHOM_UNROLL
      for (int m = 0; m < kTiles; ++m) V::Query::multiply(scores[m][n], q_[m][step], b);
    }
  }
  FATHOM_DEVICE void scale_scores(int stage, int half, float (&scores)[kTiles][2][4]) const {
    FATHOM_UNROLL
    for (int n = 0; n < 2; ++n) {
      FATHOM_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float scale = room_.key_scales[stage * kTileKeys + half * 16 + n * 8 + column() + i % 2];
        FATHOM_UNROLL
        for (int m = 0; m < kTiles; ++m) scores[m][n][i] *= scale;
      }
    }
  }

  // Keys from position `first` on that a line sees: those up to its row's position.
  FATHOM_DEVICE int visible_keys(int line, int first) const {
    const int end = item_.key_end - first;
    if (item_.last_position - first >= kTileKeys + item_.num_rows) return end;
    const int row = (first_line_ + line) / static_cast<int>(launched_.batch.num_heads);
    const int own = item_.last_position + 1 - (item_.num_rows - 1 - row) - first;
    return own < end ? own : end;
  }

  // The scores of this slice's 8 keys, adding its own part and those of the slices after it in turn, and the
  // largest among them.
  FATHOM_DEVICE void add_slices(int tile) {
    const int first = item_.key_begin + tile * kTileKeys + slice_ * 8 + column();
    FATHOM_UNROLL
    for (int m = 0; m < kTiles; ++m) {
      for (int after = 1; after < kSlices; ++after) {
        const Quad quad = room_.exchange[exchange_place(slice_, after, m)];
        for (int i = 0; i < 4; ++i) own_[m][i] += bits_to_float(quad.words[i]);
      }
      for (int half = 0; half < 2; ++half) {
        const float scale = launched_.batch.scale * query_scale(line(m, half));
        const int seen = visible_keys(line(m, half), first);
        for (int i = 0; i < 2; ++i)
          own_[m][half * 2 + i] = i < seen ? own_[m][half * 2 + i] * scale : bits_to_float(kMinusInfinity);
        float top = largest_of(own_[m][half * 2], own_[m][half * 2 + 1]);
        top = largest_of(top, shuffle_xor(top, 1));
        top = largest_of(top, shuffle_xor(top, 2));
        if (lane_index() % 4 == 0) room_.tile_tops[slice_ * V::kLines + line(m, half)] = top;
      }
    }
  }

  // The weights of this slice's keys, as words of the left operand in place of the scores it got from others;
  // sums and outputs so far are brought to the new maximum.
  FATHOM_DEVICE void weigh(int tile) {
    float factors[kTiles][2];
    bool is_new = false;
    FATHOM_UNROLL
    for (int m = 0; m < kTiles; ++m) {
      Quad quad = {};
      for (int half = 0; half < 2; ++half) {
        const int l = line(m, half);
        const float old = room_.tops[tile % 2 * V::kLines + l];
        float top = old;
        for (int slice = 0; slice < kSlices; ++slice)
          top = largest_of(top, room_.tile_tops[slice * V::kLines + l]);
        factors[m][half] = exponential(old - top);
        is_new = is_new || top != old;
        float weights[2];
        for (int i = 0; i < 2; ++i) weights[i] = exponential(own_[m][half * 2 + i] - top);
        float sum = weights[0] + weights[1];
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        if (lane_index() % 4 == 0) {
          float& so_far = room_.sums[slice_ * V::kLines + l];
          so_far = so_far * factors[m][half] + sum;
          if (slice_ == 0) room_.tops[(tile + 1) % 2 * V::kLines + l] = top;
        }
        if constexpr (V::kIsInt8)
          for (int i = 0; i < 2; ++i)
            weights[i] *= room_.key_scales[tile % kStages * kTileKeys + slice_ * 8 + column() + i];
        quad.words[half] = V::Weight::rounded(weights[0], weights[1]);
      }
      room_.exchange[exchange_place(slice_, 1, m)] = quad;
    }
    if (ballot(is_new) == 0) return;  // factors of 1 change nothing
    FATHOM_UNROLL
    for (int m = 0; m < kTiles; ++m)
      for (int n = 0; n < kOutputTiles; ++n)
        for (int i = 0; i < 4; ++i) out_[m][n][i] *= factors[m][i / 2];
  }

  FATHOM_DEVICE void multiply_values(int stage) {
    FATHOM_KEEP_ROLLED
    for (int step = 0; step < kTileKeys / 16; ++step) {
      uint32_t weights[kTiles][4];
      FATHOM_UNROLL
      for (int m = 0; m < kTiles; ++m) {
        FATHOM_UNROLL
        for (int i = 0; i < 2; ++i) {
          const Quad quad = room_.exchange[exchange_place(step * 2 + i, 1, m)];
          weights[m][2 * i] = quad.words[0];
          weights[m][2 * i + 1] = quad.words[1];
        }
      }
      const int place = key_place(stage, step * 16) + place_;
      FATHOM_UNROLL
      for (int begin = 0; begin < kLatentPairs; begin += cuda::kSectionPairs) {
        if (begin * kSlices >= layout_.latent_pairs) continue;
        FATHOM_UNROLL
        for (int i = begin; i < begin + cuda::kSectionPairs; ++i) {
          uint32_t words[4];  // [chunk of the pair][8 keys]
          load_matrices_transposed(words, room_.keys, place + i * kPairStep);
          add_values(weights, words, i);
        }
      }
    }
  }

  // An element of an int8 row's matrix is two outputs: even ones and odd ones are products of their own.
  FATHOM_DEVICE void add_values(const uint32_t (&weights)[kTiles][4], const uint32_t (&words)[4], int load) {
    FATHOM_UNROLL
    for (int c = 0; c < 2; ++c) {
      if constexpr (V::kIsInt8) {
        const uint32_t even[2] = {V::Weight::template from_bytes<0, 2>(words[2 * c]),
                                  V::Weight::template from_bytes<0, 2>(words[2 * c + 1])};
        const uint32_t odd[2] = {V::Weight::template from_bytes<1, 3>(words[2 * c]),
                                 V::Weight::template from_bytes<1, 3>(words[2 * c + 1])};
        FATHOM_UNROLL
        for (int m = 0; m < kTiles; ++m) {
          V::Weight::multiply(out_[m][4 * load + 2 * c], weights[m], even);
          V::Weight::multiply(out_[m][4 * load + 2 * c + 1], weights[m], odd);
        }
      } else {
        const uint32_t b[2] = {words[2 * c], words[2 * c + 1]};
        FATHOM_UNROLL
        for (int m = 0; m < kTiles; ++m) V::Weight::multiply(out_[m][2 * load + c], weights[m], b);
      }
    }
  }

  // The output that element i of tile n holds.
  FATHOM_DEVICE int dim(int n, int i) const {
    constexpr int kPairTiles = 2 * kPairSteps;
    const int first = (slice_ + n / kPairTiles * kSlices) * 8 * kPairTiles;
    if constexpr (V::kIsInt8) return first + n % kPairTiles / 2 * 16 + 2 * (column() + i % 2) + n % 2;
    return first + n % kPairTiles * 8 + column() + i % 2;
  }

  FATHOM_DEVICE void write(int num_tiles) {
    const cuda::AbsorbedBatchParams& p = launched_.batch;
    const int64_t first = item_.first_result * p.num_heads + first_line_;
    const int l = thread_index();
    if (l < V::kLines && has_line(l)) {
      float sum = 0;
      for (int slice = 0; slice < kSlices; ++slice) sum += room_.sums[slice * V::kLines + l];
      p.max[first + l] = room_.tops[num_tiles % 2 * V::kLines + l];
      p.sum[first + l] = sum;
    }
    FATHOM_UNROLL
    for (int m = 0; m < kTiles; ++m) {
      for (int half = 0; half < 2; ++half) {
        if (!has_line(line(m, half))) continue;
        float* out = p.out + (first + line(m, half)) * p.cache.latent_dim;
        FATHOM_UNROLL
        for (int n = 0; n < kOutputTiles; ++n)
          for (int i = 0; i < 2; ++i)
            if (dim(n, i) < p.cache.latent_dim) out[dim(n, i)] = out_[m][n][half * 2 + i];
      }
    }
  }

  static constexpr uint32_t kMinusInfinity = 0xff800000u;
  static FATHOM_DEVICE float largest_of(float a, float b) { return b > a ? b : a; }

  const Launched& launched_;
  const cuda::AbsorbedLayout& layout_;
  const cuda::SplitItem& item_;
  const Room<V> room_;
  const int first_line_, num_keys_, slice_, group_, place_;
  int32_t row_ = 0;
  uint32_t q_[kTiles][kSteps][4];
  float own_[kTiles][4];
  float out_[kTiles][kOutputTiles][4] = {};
};

template <typename V>
FATHOM_KERNEL(V::kThreads)
absorbed_kernel(Launched launched) {
  begin_kernel();
  const cuda::SplitItem& item = launched.batch.items[block_x() / launched.line_blocks];
  const int first_line = static_cast<int>(block_x() % launched.line_blocks) * V::kLines;
  if (item.key_begin == item.key_end || first_line >= item.num_rows * launched.batch.num_heads) return;
  Block<V> block(launched, item, first_line);
  block.run();
}

template <typename V>
int launch_variant(const cuda::AbsorbedBatchParams& p, void* stream) {
  const LatentCacheView& cache = p.cache;
  const cuda::AbsorbedLayout layout = cuda::absorbed_layout(cache);
  const int64_t line_blocks = (p.max_item_rows * p.num_heads + V::kLines - 1) / V::kLines;
  return launch(
      absorbed_kernel<V>,
      {.blocks_x = p.num_items * line_blocks,
       .threads = V::kThreads,
       .shared_bytes = Room<V>::bytes(layout),
       .stream = stream},
      Launched{p, layout, latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim), line_blocks});
}

template <typename Query, typename Weight, bool kIsInt8>
int launch_lines(const cuda::AbsorbedBatchParams& p, void* stream) {
  switch (cuda::lines_per_block(p.max_item_rows * p.num_heads)) {
    case 16:
      return launch_variant<Variant<Query, Weight, kIsInt8, 1, 1>>(p, stream);
    case 32:
      return launch_variant<Variant<Query, Weight, kIsInt8, 2, 1>>(p, stream);
    default:
      return launch_variant<Variant<Query, Weight, kIsInt8, 2, 2>>(p, stream);
  }
}

}  // namespace

int multiply_absorbed(const cuda::AbsorbedBatchParams& p, void* stream) {
  if (p.cache.dtype == DType::kBFloat16) return launch_lines<BFloat16, BFloat16, false>(p, stream);
  if (p.cache.dtype == DType::kFloat16) return launch_lines<Float16, Float16, false>(p, stream);
  return p.cache.rope_dtype == DType::kBFloat16 ? launch_lines<BFloat16, BFloat16, true>(p, stream)
                                                : launch_lines<Float16, BFloat16, true>(p, stream);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
