// Expanded attention: causal, over keys and values that exist for every head, in tiles of kKeyBlock keys from
// position 0 on with a running maximum, so that a row's bits depend on its own position alone.
//
// The form on tensor cores: a block takes kQueryTile queries of a head, a warp 16 of them; queries and sums
// stay in registers, keys and values go through shared memory in two stages. Tiles of queries that see the
// most keys begin first, of all heads, so that multiprocessors end together. With n + r = 192, v = 128: a
// tile of 64 keys is 1280 products (5.2 MFLOP) on 40 KiB from the second-level cache, 128 FLOP a byte. A
// product reads 256 bytes of keys or values from shared memory, which at 128 bytes a cycle allows half of the
// H200's 990 TFLOP/s. Prefill of 2048 tokens of V2-Lite: 21 GFLOP a layer beside 360 of its linears.
// Registers (__launch_bounds__): one block of 8 warps an SM.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/numbers.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kWarpRows = 16;
static_assert(kWarps * kWarpRows == cuda::kQueryTile);
constexpr int kKeys = static_cast<int>(kKeyBlock);
constexpr int kPiece = 8;  // elements of one asynchronous copy
constexpr float kLog2E = 1.44269504f;
constexpr uint32_t kMinusInfinity = 0xff800000u;

struct Launched {
  cuda::ExpandedBatchParams batch;
  int nope_width, rope_width, value_width;  // padded

  FATHOM_DEVICE int head_width() const { return nope_width + value_width; }
};

struct BFloat16Elements {
  static constexpr DType kDType = DType::kBFloat16;
  static FATHOM_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_bf16(c, a, b);
  }
  static FATHOM_DEVICE uint32_t pair(float low, float high) { return bf16_pair(low, high); }
};
struct Float16Elements {
  static constexpr DType kDType = DType::kFloat16;
  static FATHOM_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_fp16(c, a, b);
  }
  static FATHOM_DEVICE uint32_t pair(float low, float high) { return fp16_pair(low, high); }
};

// Keys of up to 16 kSteps elements and values of up to 16 kValuePairs, padded with zeros. Eight elements more
// than needed: the eight rows that ldmatrix reads lie in different banks.
template <int kKeySteps, int kPairs>
struct FlashShape {
  static constexpr int kSteps = kKeySteps;
  static constexpr int kValuePairs = kPairs;
  static constexpr int kKeyStride = 16 * kSteps + 8;
  static constexpr int kValueStride = 16 * kValuePairs + 8;
  static constexpr int kStageElements = kKeys * (kKeyStride + kValueStride);
  static constexpr size_t kSharedBytes = 2 * 2 * kStageElements;
  static_assert(kSharedBytes <= kMaxSharedBytes);
};
using LargeShape = FlashShape<12, 8>;
using SmallShape = FlashShape<6, 4>;

template <typename Shape>
bool fits(const Launched& launched) {
  return launched.nope_width + launched.rope_width <= 16 * Shape::kSteps &&
         launched.value_width <= 16 * Shape::kValuePairs;
}

// One of two tiles of keys in shared memory.
struct Stage {
  SharedArray<uint16_t> keys;    // [2, kKeys, kKeyStride]
  SharedArray<uint16_t> values;  // [2, kKeys, kValueStride]
  int key_begin, value_begin;
};

// What a block works on.
struct Block {
  cuda::QueryTile tile;
  int64_t head;  // of p.num_heads
  int num_keys;  // that its last query sees
};

FATHOM_DEVICE Block this_block(const Launched& launched) {
  const cuda::QueryTile tile = launched.batch.tiles[block_y()];
  return {tile, block_x(), tile.first_position + tile.num_rows};
}

// Begins copying keys [first, first + kKeys); those beyond the block's become 0. A warp copies a key's two
// parts at a time, then four rotated parts.
template <typename Shape>
FATHOM_DEVICE void copy_keys(const Launched& launched, const Block& block, int first, const Stage& to) {
  const cuda::ExpandedBatchParams& p = launched.batch;
  const int nope_pieces = launched.nope_width / kPiece;
  const int pieces = launched.head_width() / kPiece;
  const int rope_pieces = launched.rope_width / kPiece;
  const int lane = lane_index();
  for (int key = warp_index(); key < kKeys; key += kWarps) {
    const int valid_bytes = first + key < block.num_keys ? 16 : 0;
    const int row = block.tile.first_key + (valid_bytes != 0 ? first + key : 0);
    const auto* from =
        static_cast<const uint16_t*>(p.expanded) + (row * p.num_heads + block.head) * launched.head_width();
    for (int piece = lane; piece < pieces; piece += kWarpLanes) {
      if (piece < nope_pieces) {
        copy_async_16(to.keys, to.key_begin + key * Shape::kKeyStride + piece * kPiece, from + piece * kPiece,
                      valid_bytes);
      } else {
        copy_async_16(to.values, to.value_begin + key * Shape::kValueStride + (piece - nope_pieces) * kPiece,
                      from + piece * kPiece, valid_bytes);
      }
    }
  }
  for (int key = thread_index() / kPiece; key < kKeys; key += kThreads / kPiece) {
    const int valid_bytes = first + key < block.num_keys ? 16 : 0;
    const int64_t row = block.tile.first_key + (valid_bytes != 0 ? first + key : 0);
    const auto* from = static_cast<const uint16_t*>(p.rope) + row * launched.rope_width;
    for (int piece = lane % kPiece; piece < rope_pieces; piece += kPiece)
      copy_async_16(to.keys, to.key_begin + key * Shape::kKeyStride + (nope_pieces + piece) * kPiece,
                    from + piece * kPiece, valid_bytes);
  }
  commit_copies();
}

// The columns that copy_keys never writes.
template <typename Shape>
FATHOM_DEVICE void clear_padding(const Launched& launched, const Stage& stage) {
  const auto key_width = launched.nope_width + launched.rope_width;
  const auto value_width = launched.value_width;
  for (int key = warp_index(); key < kKeys; key += kWarps) {
    for (int i = key_width + lane_index(); i < 16 * Shape::kSteps; i += kWarpLanes)
      stage.keys[stage.key_begin + key * Shape::kKeyStride + i] = 0;
    for (int i = value_width + lane_index(); i < 16 * Shape::kValuePairs; i += kWarpLanes)
      stage.values[stage.value_begin + key * Shape::kValueStride + i] = 0;
  }
}

// A column of a query as keys are laid out.
FATHOM_DEVICE float query_element(const Launched& launched, const float* row, int column) {
  const auto nope_dim = static_cast<int>(launched.batch.nope_dim);
  const auto rope_dim = static_cast<int>(launched.batch.rope_dim);
  if (column < nope_dim) return row[column];
  const int i = column - launched.nope_width;
  return i >= 0 && i < rope_dim ? row[nope_dim + i] : 0.0f;
}

// The left operand of every step: rows lane / 4 (+8) of the warp's 16, columns 2 (lane % 4) (+1, +8, +9).
template <typename Elements, typename Shape>
FATHOM_DEVICE void load_queries(const Launched& launched, const Block& block,
                                uint32_t (&q)[Shape::kSteps][4]) {
  const cuda::ExpandedBatchParams& p = launched.batch;
  FATHOM_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = warp_index() * kWarpRows + lane_index() / 4 + i % 2 * 8;
    const bool inside = row < block.tile.num_rows;
    const float* from =
        p.q + ((block.tile.first_row + (inside ? row : 0)) * p.all_heads + p.first_head + block.head) *
                  (p.nope_dim + p.rope_dim);
    FATHOM_UNROLL
    for (int step = 0; step < Shape::kSteps; ++step) {
      const int column = step * 16 + lane_index() % 4 * 2 + i / 2 * 8;
      const uint32_t low = float_to_16_bits(query_element(launched, from, column), Elements::kDType);
      const uint32_t high = float_to_16_bits(query_element(launched, from, column + 1), Elements::kDType);
      q[step][i] = inside ? low | high << 16 : 0u;
    }
  }
}

// scores[i]: rows lane / 4 (+8), keys 8 i + 2 (lane % 4) (+1).
template <typename Elements, typename Shape>
FATHOM_DEVICE void multiply_keys(const uint32_t (&q)[Shape::kSteps][4], const Stage& stage,
                                 float (&scores)[kKeys / 8][4]) {
  const int lane = lane_index();
  const int place = stage.key_begin + (lane / 16 * 8 + lane % 8) * Shape::kKeyStride + lane / 8 % 2 * 8;
  for (int step = 0; step < Shape::kSteps; ++step) {
    for (int i = 0; i < kKeys / 8; i += 2) {
      uint32_t words[4];
      load_matrices(words, stage.keys, place + i * 8 * Shape::kKeyStride + step * 16);
      Elements::multiply(scores[i], q[step], {words[0], words[1]});
      Elements::multiply(scores[i + 1], q[step], {words[2], words[3]});
    }
  }
}

// out[i]: rows lane / 4 (+8), columns 8 i + 2 (lane % 4) (+1).
template <typename Elements, typename Shape>
FATHOM_DEVICE void multiply_values(const float (&weights)[kKeys / 8][4], const Stage& stage,
                                   float (&out)[2 * Shape::kValuePairs][4]) {
  const int lane = lane_index();
  const int place = stage.value_begin + lane % 16 * Shape::kValueStride + lane / 16 * 8;
  for (int i = 0; i < kKeys / 8; i += 2) {
    const uint32_t a[4] = {Elements::pair(weights[i][0], weights[i][1]),
                           Elements::pair(weights[i][2], weights[i][3]),
                           Elements::pair(weights[i + 1][0], weights[i + 1][1]),
                           Elements::pair(weights[i + 1][2], weights[i + 1][3])};
    for (int pair = 0; pair < Shape::kValuePairs; ++pair) {
      uint32_t words[4];
      load_matrices_transposed(words, stage.values, place + i * 8 * Shape::kValueStride + pair * 16);
      Elements::multiply(out[2 * pair], a, {words[0], words[1]});
      Elements::multiply(out[2 * pair + 1], a, {words[2], words[3]});
    }
  }
}

// Scores of keys that a row does not see become minus infinity.
FATHOM_DEVICE void mask(int first_key, int first_position, float (&scores)[kKeys / 8][4]) {
  for (int i = 0; i < kKeys / 8; ++i) {
    for (int e = 0; e < 4; ++e) {
      const int key = first_key + i * 8 + lane_index() % 4 * 2 + e % 2;
      if (key > first_position + lane_index() / 4 + e / 2 * 8) scores[i][e] = bits_to_float(kMinusInfinity);
    }
  }
}

// Of a lane's two rows: the largest score so far in units of log 2, and this lane's part of the sum of
// 2^(score - largest).
struct Running {
  float largest[2];
  float sum[2];
};

// Turns scores into weights relative to the new maximum; factors: of what was summed before.
FATHOM_DEVICE void weigh(float scale, float (&scores)[kKeys / 8][4], Running& running, float (&factors)[2]) {
  for (int half = 0; half < 2; ++half) {
    float largest = scores[0][2 * half];
    for (int i = 0; i < kKeys / 8; ++i)
      for (int e = 0; e < 2; ++e) largest = larger(largest, scores[i][2 * half + e]);
    for (int step = 1; step <= 2; step *= 2) largest = larger(largest, shuffle_xor(largest, step));
    largest = larger(running.largest[half], largest * scale);
    factors[half] = power_of_two(running.largest[half] - largest);
    running.largest[half] = largest;
    float sum = 0;
    for (int i = 0; i < kKeys / 8; ++i) {
      for (int e = 0; e < 2; ++e) {
        float& score = scores[i][2 * half + e];
        score = power_of_two(fused_multiply_add(score, scale, -largest));
        sum += score;
      }
    }
    running.sum[half] = fused_multiply_add(running.sum[half], factors[half], sum);
  }
}

template <typename Shape>
FATHOM_DEVICE void write_rows(const Launched& launched, const Block& block, const Running& running,
                              const float (&out)[2 * Shape::kValuePairs][4]) {
  const cuda::ExpandedBatchParams& p = launched.batch;
  for (int half = 0; half < 2; ++half) {
    float sum = running.sum[half];
    for (int step = 1; step <= 2; step *= 2) sum += shuffle_xor(sum, step);
    const int row = warp_index() * kWarpRows + lane_index() / 4 + half * 8;
    if (row >= block.tile.num_rows) continue;
    const float inverse = 1.0f / sum;
    float* to = p.out + ((block.tile.first_row + row) * p.all_heads + p.first_head + block.head) * p.v_dim;
    for (int i = 0; i < 2 * Shape::kValuePairs; ++i) {
      for (int e = 0; e < 2; ++e) {
        const int column = i * 8 + lane_index() % 4 * 2 + e;
        if (column < p.v_dim) to[column] = out[i][2 * half + e] * inverse;
      }
    }
  }
}

template <typename Elements, typename Shape>
FATHOM_KERNEL(kThreads)
flash_kernel(Launched launched) {
  begin_kernel();
  const cuda::ExpandedBatchParams& p = launched.batch;
  const Block block = this_block(launched);
  SharedMemory shared;
  const SharedArray<uint16_t> keys = shared.take<uint16_t>(2 * kKeys * Shape::kKeyStride);
  const SharedArray<uint16_t> values = shared.take<uint16_t>(2 * kKeys * Shape::kValueStride);
  const auto stage_of = [&](int number) {
    return Stage{keys, values, number % 2 * kKeys * Shape::kKeyStride,
                 number % 2 * kKeys * Shape::kValueStride};
  };
  const int first_position = block.tile.first_position + warp_index() * kWarpRows;
  const float scale = p.scale * kLog2E;

  copy_keys<Shape>(launched, block, 0, stage_of(0));
  for (int i = 0; i < 2; ++i) clear_padding<Shape>(launched, stage_of(i));
  uint32_t q[Shape::kSteps][4];
  load_queries<Elements, Shape>(launched, block, q);
  Running running{{bits_to_float(kMinusInfinity), bits_to_float(kMinusInfinity)}, {0, 0}};
  float out[2 * Shape::kValuePairs][4] = {};
  for (int number = 0; number * kKeys < block.num_keys; ++number) {
    const int first = number * kKeys;
    wait_copies<0>();
    sync_threads();  // this tile is whole, and no warp reads the other stage any more
    if (first + kKeys < block.num_keys)
      copy_keys<Shape>(launched, block, first + kKeys, stage_of(number + 1));
    // A warp whose rows see no key of the tile has nothing to do: weights of 0 would change no bit.
    if (warp_index() * kWarpRows >= block.tile.num_rows || first >= first_position + kWarpRows) continue;
    float scores[kKeys / 8][4] = {};
    multiply_keys<Elements, Shape>(q, stage_of(number), scores);
    if (first + kKeys > first_position + 1) mask(first, first_position, scores);
    float factors[2];
    weigh(scale, scores, running, factors);
    for (auto& column : out)
      for (int e = 0; e < 4; ++e) column[e] *= factors[e / 2];
    multiply_values<Elements, Shape>(scores, stage_of(number), out);
  }
  write_rows<Shape>(launched, block, running, out);
}

// One row of the general form, in shared memory of its warp.
struct RowRoom {
  SharedArray<float> q, weights, out;
  int q_begin, weights_begin, out_begin;
};

FATHOM_DEVICE float key_score(const Launched& launched, const Block& block, const RowRoom& room, int key) {
  const cuda::ExpandedBatchParams& p = launched.batch;
  const int64_t row = block.tile.first_key + key;
  const int64_t nope = (row * p.num_heads + block.head) * launched.head_width();
  const int64_t rope = row * launched.rope_width - p.nope_dim;
  float dot = 0;
  for (int i = lane_index(); i < p.nope_dim + p.rope_dim; i += kWarpLanes) {
    const float element =
        i < p.nope_dim ? load_float(p.expanded, p.dtype, nope + i) : load_float(p.rope, p.dtype, rope + i);
    dot = fused_multiply_add(room.q[room.q_begin + i], element, dot);
  }
  return warp_sum(dot) * p.scale;
}

// Adds num_keys keys from `first` on to the sums of a row.
FATHOM_DEVICE void attend_keys(const Launched& launched, const Block& block, const RowRoom& room, int first,
                               int num_keys, float& largest, float& sum) {
  const cuda::ExpandedBatchParams& p = launched.batch;
  float highest = largest;
  for (int s = 0; s < num_keys; ++s) {
    const float score = key_score(launched, block, room, first + s);
    if (lane_index() == 0) room.weights[room.weights_begin + s] = score;
    highest = larger(highest, score);
  }
  sync_warp();
  const float factor = exponential(largest - highest);
  float added = 0;
  for (int s = lane_index(); s < num_keys; s += kWarpLanes) {
    float& weight = room.weights[room.weights_begin + s];
    weight = exponential(weight - highest);
    added += weight;
  }
  sum = fused_multiply_add(sum, factor, warp_sum(added));
  largest = highest;
  sync_warp();
  const int64_t stride = p.num_heads * launched.head_width();
  const int64_t values = (block.tile.first_key + first) * stride + block.head * launched.head_width();
  for (int i = lane_index(); i < p.v_dim; i += kWarpLanes) {
    float out = room.out[room.out_begin + i] * factor;
    int64_t at = values + launched.nope_width + i;
    for (int s = 0; s < num_keys; ++s, at += stride)
      out =
          fused_multiply_add(room.weights[room.weights_begin + s], load_float(p.expanded, p.dtype, at), out);
    room.out[room.out_begin + i] = out;
  }
  sync_warp();
}

// Any dims and dtypes, float32 on the general cores: a warp a row at a time.
FATHOM_KERNEL(kThreads) general_kernel(Launched launched) {
  begin_kernel();
  const cuda::ExpandedBatchParams& p = launched.batch;
  const Block block = this_block(launched);
  const auto query_dim = static_cast<int>(p.nope_dim + p.rope_dim);
  const auto v_dim = static_cast<int>(p.v_dim);
  const int warp = warp_index();
  SharedMemory shared;
  const SharedArray<float> q = shared.take<float>(kWarps * query_dim);
  const SharedArray<float> weights = shared.take<float>(kWarps * kKeys);
  const SharedArray<float> out = shared.take<float>(kWarps * v_dim);
  const RowRoom room{q, weights, out, warp * query_dim, warp * kKeys, warp * v_dim};
  for (int row = warp; row < block.tile.num_rows; row += kWarps) {
    const int64_t query = (block.tile.first_row + row) * p.all_heads + p.first_head + block.head;
    for (int i = lane_index(); i < query_dim; i += kWarpLanes)
      q[room.q_begin + i] = p.q[query * query_dim + i];
    for (int i = lane_index(); i < v_dim; i += kWarpLanes) out[room.out_begin + i] = 0;
    float largest = bits_to_float(kMinusInfinity), sum = 0;
    const int end = block.tile.first_position + row + 1;
    for (int first = 0; first < end; first += kKeys)
      attend_keys(launched, block, room, first, end - first < kKeys ? end - first : kKeys, largest, sum);
    for (int i = lane_index(); i < v_dim; i += kWarpLanes)
      p.out[query * v_dim + i] = out[room.out_begin + i] / sum;
  }
}

size_t general_shared_bytes(const cuda::ExpandedBatchParams& p) {
  const int64_t floats = p.nope_dim + p.rope_dim + p.v_dim + kKeys + 12;  // each array in whole 16 bytes
  return static_cast<size_t>(kWarps * floats) * sizeof(float);
}

template <typename Elements>
int launch_flash(const Launched& launched, LaunchShape shape) {
  if (fits<SmallShape>(launched)) {
    shape.shared_bytes = SmallShape::kSharedBytes;
    return launch(flash_kernel<Elements, SmallShape>, shape, launched);
  }
  shape.shared_bytes = LargeShape::kSharedBytes;
  return launch(flash_kernel<Elements, LargeShape>, shape, launched);
}

}  // namespace

int expanded_attention(const cuda::ExpandedBatchParams& p, void* stream) {
  const auto padded = [](int64_t width) { return static_cast<int>(cuda::padded_part(width)); };
  const Launched launched{p, padded(p.nope_dim), padded(p.rope_dim), padded(p.v_dim)};
  LaunchShape shape{.blocks_x = p.num_heads, .blocks_y = p.num_tiles, .threads = kThreads, .stream = stream};
  if (fits<LargeShape>(launched)) {
    if (p.dtype == DType::kBFloat16) return launch_flash<BFloat16Elements>(launched, shape);
    if (p.dtype == DType::kFloat16) return launch_flash<Float16Elements>(launched, shape);
  }
  shape.shared_bytes = general_shared_bytes(p);
  return launch(general_kernel, shape, launched);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
