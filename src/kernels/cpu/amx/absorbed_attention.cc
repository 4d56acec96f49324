// Absorbed attention of one token in bf16 tiles: 16 heads share every key that is read.
//
//   scores [keys x heads] = rows of the cache [16 keys x (R + r)] . queries [(R + r) x 16 heads]
//   softmax over a split's keys, at most 256, heads in the lanes: no sum across lanes
//   out [heads x R] = weights [16 heads x 32 keys] . latents [32 keys x 16 of R]
//
// The rows of the cache are tiles as they lie. For the second product they are interleaved two keys by two,
// 64 of R at a time, so that the sums of all keys stay in tiles and that part (32 KB) in the first-level
// cache. A split's weights are relative to the largest score of the whole split. The scale of an int8 row
// goes into its score and its weight.
//
// A split of 256 keys with R + r = 576 reads 295 KB. 16 heads: 288 + 256 products (8.7k cycles), then about
// 8k cycles for interleaving (port 5: two vpermt2w a line of 32 elements) and 4k for the softmax: 14 bytes a
// cycle, above a core's share of memory. 128 heads: 70k + 8k + 32k cycles, 2.7 bytes a cycle. Without its
// tile instructions the code takes 21k and 68k cycles on Zen 4 (2026-11-24), which halves 512-bit operations.
// Interleaving with vpunpck would take half of port 5 but permute the columns of the result.
#include <immintrin.h>

#include "kernels/cpu/amx/kernels.h"
#include "kernels/cpu/amx/latent_rows.h"
#include "kernels/cpu/amx/other_kernels.h"
#include "kernels/cpu/amx/product.h"
#include "kernels/cpu/amx/tiles.h"
#include "kernels/cpu/amx/vector.h"
#include "kernels/params.h"

namespace fathom::kernels::FATHOM_AMX_NAMESPACE {
namespace {

constexpr int64_t kHeadTile = 16;
constexpr int64_t kScoreBytes = kKeySplit * kHeadTile * 4;  // of 16 heads
constexpr int64_t kLatentChunk = 64;                        // of R, whose sums take four tiles

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

struct Split {
  explicit Split(const AbsorbedAttentionParams& params)
      : p(params),
        latents(params.cache, params.page_table),
        num_keys(params.key_end - params.key_begin),
        num_groups((params.num_heads + kHeadTile - 1) / kHeadTile),
        steps(latents.latent_steps + latents.rope_steps),
        queries(static_cast<uint8_t*>(params.scratch)),
        scores(queries + num_groups * steps * kTileBytes),
        work(scores + num_groups * kScoreBytes) {
    for (int64_t s = 0; s < num_keys; ++s) {
      rows[s] = latents.row(params.key_begin + s);
      scales[s] = latents.scale(rows[s]);
    }
  }

  int64_t heads_in(int64_t group) const { return smaller(p.num_heads - group * kHeadTile, kHeadTile); }

  const AbsorbedAttentionParams& p;
  const LatentRows latents;
  const int64_t num_keys;
  const int64_t num_groups;
  const int64_t steps;
  uint8_t* const queries;  // [groups, steps] tiles
  // [groups] of scores, [keys, 16 heads] float, and in their place the weights, bf16 tiles [16 heads, 32
  // keys].
  uint8_t* const scores;
  uint8_t* const work;  // a block of keys copied; later a part of the latents of all keys
  const uint8_t* rows[kKeySplit];
  float scales[kKeySplit];
};

void pack_heads(const Split& split) {
  for (int64_t group = 0; group < split.num_groups; ++group) {
    const float* heads[kHeadTile] = {};
    for (int64_t h = 0; h < split.heads_in(group); ++h) {
      heads[h] = split.p.q + (group * kHeadTile + h) * split.p.q_stride;
    }
    pack_queries(heads, split.p.cache.latent_dim, split.p.cache.rope_dim,
                 split.queries + group * split.steps * kTileBytes);
  }
}

// scores = scores * scale of the key + rope.
void add_rope(const Split& split, int64_t key, float* scores, const float* rope) {
  for (int64_t s = 0; s < smaller(split.num_keys - key, kKeyBlock); ++s) {
    const __m512 scale = _mm512_set1_ps(split.scales[key + s]);
    float* row = scores + s * kHeadTile;
    const __m512 rope_score = _mm512_load_ps(rope + s * kHeadTile);
    _mm512_store_ps(row, _mm512_fmadd_ps(_mm512_load_ps(row), scale, rope_score));
  }
}

// Scores of the 64 keys from `key`.
void score_block(const Split& split, int64_t key) {
  const LatentRows& latents = split.latents;
  const uint8_t* keys[4];
  for (int64_t i = 0; i < 4; ++i) {
    const int64_t first = key + i * kTileRows;
    keys[i] = latents.tile(split.rows + smaller(first, split.num_keys - 1), split.num_keys - first,
                           split.work + i * kTileRows * latents.stride);
  }
  // While the first heads are multiplied, the next block's rows are fetched.
  const int64_t next_end = smaller(split.num_keys, key + 2 * kKeyBlock);
  const auto fetch_next = [&](int64_t step) {
    for (int64_t s = key + kKeyBlock; s < next_end; ++s) {
      _mm_prefetch(reinterpret_cast<const char*>(split.rows[s] + step * kTileRowBytes), _MM_HINT_T1);
    }
  };
  const auto nothing = [](int64_t) {};
  for (int64_t group = 0; group < split.num_groups; ++group) {
    const uint8_t* queries = split.queries + group * split.steps * kTileBytes;
    auto* scores = reinterpret_cast<float*>(split.scores + group * kScoreBytes) + key * kHeadTile;
    zero_sums();
    const int64_t steps = latents.is_int8 ? latents.latent_steps : split.steps;
    if (group == 0 && !latents.is_int8) {
      multiply_keys(keys, latents.stride, queries, steps, fetch_next);
    } else {
      multiply_keys(keys, latents.stride, queries, steps, nothing);
    }
    store_sums<2, 2>(scores);
    if (!latents.is_int8) continue;
    alignas(64) float rope[kKeyBlock * kHeadTile];
    const uint8_t* rope_keys[4];
    for (int64_t i = 0; i < 4; ++i) rope_keys[i] = keys[i] + steps * kTileRowBytes;
    zero_sums();
    multiply_keys(rope_keys, latents.stride, queries + steps * kTileBytes, latents.rope_steps, nothing);
    store_sums<2, 2>(rope);
    add_rope(split, key, scores, rope);
  }
}

// From the scores of one group of heads their maximum, the sum of weights, and the weights as tiles.
void weigh(const Split& split, int64_t group) {
  uint8_t* tiles = split.scores + group * kScoreBytes;
  const auto* scores = reinterpret_cast<const float*>(tiles);
  const __m512 scale = _mm512_set1_ps(split.p.scale);
  __m512 max = _mm512_set1_ps(-__builtin_inff());
  for (int64_t s = 0; s < split.num_keys; ++s)
    max = _mm512_max_ps(max, _mm512_load_ps(scores + s * kHeadTile));
  max = _mm512_mul_ps(max, scale);
  __m512 sum = _mm512_setzero_ps();
  // A tile of weights takes half the room of the scores it is made from: those ahead stay whole.
  for (int64_t tile = 0; tile * kStepElements < split.num_keys; ++tile) {
    __m512 weights[kStepElements];
    for (int64_t i = 0; i < kStepElements; ++i) {
      const int64_t s = tile * kStepElements + i;
      weights[i] = _mm512_setzero_ps();
      if (s >= split.num_keys) continue;
      weights[i] = exp_lanes(_mm512_fmsub_ps(_mm512_load_ps(scores + s * kHeadTile), scale, max));
      sum = _mm512_add_ps(sum, weights[i]);
      if (split.latents.is_int8) weights[i] = _mm512_mul_ps(weights[i], _mm512_set1_ps(split.scales[s]));
    }
    __m512i lines[16];
    for (int i = 0; i < 16; ++i) lines[i] = to_bf16_pairs(weights[2 * i], weights[2 * i + 1]);
    transpose(lines);
    for (int i = 0; i < 16; ++i) {
      _mm512_store_si512(tiles + tile * kTileBytes + i * kTileRowBytes, lines[i]);
    }
  }
  const __mmask16 heads = first_lanes(split.heads_in(group));
  _mm512_mask_storeu_ps(split.p.max + group * kHeadTile, heads, max);
  _mm512_mask_storeu_ps(split.p.sum + group * kHeadTile, heads, sum);
}

// Elements [i, i + 32) of the latents of all keys as right-hand operands: two rows of tiles, of 16 elements
// each, in `tiles` and behind `tile_row` bytes; keys beyond the last are zeros.
template <LatentType kType>
void interleave(const Split& split, int64_t i, uint8_t* tiles, int64_t tile_row) {
  const __m512i first16 = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39,
                                           7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i last16 = _mm512_add_epi16(first16, _mm512_set1_epi16(16));
  const __mmask32 inside = first_lanes32(split.p.cache.latent_dim - i);
  const auto put = [&](int64_t line, __m512i even, __m512i odd) {
    uint8_t* out = tiles + line * kTileRowBytes;
    _mm512_store_si512(out, _mm512_permutex2var_epi16(even, first16, odd));
    _mm512_store_si512(out + tile_row, _mm512_permutex2var_epi16(even, last16, odd));
  };
  const __m512i zeros = _mm512_setzero_si512();
  const uint8_t* const* rows = split.rows;
  const int64_t num_lines = num_steps(split.num_keys) * kTileRows;
  int64_t line = 0;
  for (; 2 * line + 1 < split.num_keys; ++line) {
    put(line, load_latent<kType>(rows[2 * line], i, inside),
        load_latent<kType>(rows[2 * line + 1], i, inside));
  }
  if (split.num_keys % 2 != 0) {
    put(line, load_latent<kType>(rows[2 * line], i, inside), zeros);
    ++line;
  }
  for (; line < num_lines; ++line) put(line, zeros, zeros);
}

// Writes 64 elements of the result of a group's heads from tiles 0 to 3.
void write_out(const Split& split, int64_t group, int64_t i) {
  const int64_t latent_dim = split.p.cache.latent_dim;
  float* out = split.p.out + group * kHeadTile * latent_dim + i;
  if (split.heads_in(group) == kHeadTile && i + kLatentChunk <= latent_dim) {
    const int64_t stride = latent_dim * 4;
    store<0>(out, stride);
    store<1>(out + 16, stride);
    store<2>(out + 32, stride);
    store<3>(out + 48, stride);
    return;
  }
  alignas(64) float sums[kHeadTile * kLatentChunk];
  store_sums<2, 2>(sums);
  for (int64_t h = 0; h < split.heads_in(group); ++h) {
    for (int64_t tile = 0; tile < 4; ++tile) {
      const __mmask16 inside = first_lanes(latent_dim - i - 16 * tile);
      _mm512_mask_storeu_ps(out + h * latent_dim + 16 * tile, inside,
                            _mm512_load_ps(sums + (tile * kHeadTile + h) * 16));
    }
  }
}

template <LatentType kType>
void sum_latents(const Split& split) {
  const int64_t steps = num_steps(split.num_keys);
  const int64_t tile_row = steps * kTileBytes;
  for (int64_t i = 0; i < split.p.cache.latent_dim; i += kLatentChunk) {
    interleave<kType>(split, i, split.work, tile_row);
    const bool whole = i + kStepElements < split.p.cache.latent_dim;
    if (whole) interleave<kType>(split, i + kStepElements, split.work + 2 * tile_row, tile_row);
    // With 32 elements or less left the upper tiles repeat the lower ones and are not written.
    const uint8_t* upper = whole ? split.work + 2 * tile_row : split.work;
    for (int64_t group = 0; group < split.num_groups; ++group) {
      const uint8_t* weights = split.scores + group * kScoreBytes;
      zero_sums();
      for (int64_t s = 0; s < steps; ++s) {
        load<4>(weights + s * kTileBytes, kTileRowBytes);
        load<5>(split.work + s * kTileBytes, kTileRowBytes);
        dot_bf16<0, 4, 5>();
        load<6>(split.work + tile_row + s * kTileBytes, kTileRowBytes);
        dot_bf16<1, 4, 6>();
        load<7>(upper + s * kTileBytes, kTileRowBytes);
        dot_bf16<2, 4, 7>();
        load<5>(upper + tile_row + s * kTileBytes, kTileRowBytes);
        dot_bf16<3, 4, 5>();
      }
      write_out(split, group, i);
    }
  }
}

}  // namespace

void absorbed_attention(const AbsorbedAttentionParams& p) {
  if (p.precision != AttentionPrecision::kBFloat16) return other_kernels::absorbed_attention(p);
  const Split split(p);
  const TileScope tiles;
  pack_heads(split);
  for (int64_t key = 0; key < split.num_keys; key += kKeyBlock) score_block(split, key);
  for (int64_t group = 0; group < split.num_groups; ++group) weigh(split, group);
  if (split.latents.is_int8) {
    sum_latents<LatentType::kInt8>(split);
  } else {
    sum_latents<LatentType::kBFloat16>(split);
  }
}

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE
