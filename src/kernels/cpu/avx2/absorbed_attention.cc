#include "kernels/cpu/avx2/cache.h"
#include "kernels/cpu/avx2/kernels.h"

namespace fathom::kernels::avx2 {
namespace {

// Heads are taken 16 at a time, one a lane: scores of a block are the product of its rows, decoded once for
// all heads, with the transposed queries, and no step of the softmax crosses lanes. Then each head's weights
// multiply the same rows. Per key and head R + r and R multiply-adds; the bound is the multipliers.
constexpr int64_t kHeads = 16;

// The scratch, all in floats. Lanes of heads that do not exist hold zeros as queries.
struct Scratch {
  float* queries;  // [groups, R + r, 16]
  float* keys;     // [kKeyBlock, key_stride]: latent, rotated key
  float* weights;  // [groups, kKeyBlock, 16]: scores, then weights
  float* sums;     // [groups * 16, sums_stride]
  float* largest;  // [groups * 16]
  float* totals;   // [groups * 16]
  float* factors;  // [groups * 16] what this block multiplies the sums by
  int64_t width;
  int64_t key_stride;
  int64_t sums_stride;
  int64_t groups;
};

Scratch divide(const AbsorbedAttentionParams& p) {
  Scratch s;
  s.width = p.cache.latent_dim + p.cache.rope_dim;
  s.key_stride = spread_stride(s.width);
  s.sums_stride = round_up(p.cache.latent_dim, 16);
  s.groups = (p.num_heads + kHeads - 1) / kHeads;
  const int64_t heads = s.groups * kHeads;
  s.queries = static_cast<float*>(p.scratch);
  s.keys = s.queries + heads * s.width;
  s.weights = s.keys + kKeyBlock * s.key_stride;
  s.sums = s.weights + kKeyBlock * heads;
  s.largest = s.sums + heads * s.sums_stride;
  s.totals = s.largest + heads;
  s.factors = s.totals + heads;
  return s;
}

// queries[g, i, h] = q[16 g + h, i]
void transpose_queries(const AbsorbedAttentionParams& p, const Scratch& s) {
  for (int64_t h = 0; h < s.groups * kHeads; ++h) {
    float* to = s.queries + h / kHeads * s.width * kHeads + h % kHeads;
    for (int64_t i = 0; i < s.width; ++i) to[i * kHeads] = h < p.num_heads ? p.q[h * p.q_stride + i] : 0.0f;
  }
  if (p.precision == AttentionPrecision::kFloat32) return;
  for (int64_t i = 0; i < s.groups * s.width * kHeads; i += kLanes) {
    _mm256_storeu_ps(s.queries + i, round_bfloat16(_mm256_loadu_ps(s.queries + i)));
  }
}

// scores[s, h] of one group and a tile of keys. kVectors as in multiply().
template <int kRows, int kVectors>
void score_tile(const Scratch& s, const float* queries, const float* keys, float* scores) {
  TileSums<kRows, kVectors> tile;
  clear(tile);
  multiply<Float32Lines>({keys, s.key_stride, 1}, reinterpret_cast<const uint8_t*>(queries), kHeads * 4,
                         s.width, tile);
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) _mm256_storeu_ps(scores + m * kHeads + v * kLanes, tile.v[m][v]);
  }
}

void score_group(const AbsorbedAttentionParams& p, const Scratch& s, int64_t group, int64_t count) {
  const float* queries = s.queries + group * s.width * kHeads;
  float* scores = s.weights + group * kKeyBlock * kHeads;
  const bool half = p.num_heads - group * kHeads <= kLanes;
  for (int64_t first = 0; first < count;) {
    const int64_t rows = next_tile_rows(count - first, kTileRows);
    with_count<kTileRows>(rows, [&](auto number) {
      constexpr int kRows = decltype(number)::value;
      const auto tile = half ? score_tile<kRows, 1> : score_tile<kRows, 2>;
      tile(s, queries, s.keys + first * s.key_stride, scores + first * kHeads);
    });
    first += rows;
  }
}

// One block of scores joins the running softmax of eight heads: scores become weights relative to the new
// maximum, sums of weights and the factor of what came before follow.
void join_block(const AbsorbedAttentionParams& p, const Scratch& s, int64_t head, int64_t count) {
  float* weights = s.weights + head / kHeads * kKeyBlock * kHeads + head % kHeads;
  const __m256 scale = _mm256_set1_ps(p.scale);
  const __m256 before = _mm256_loadu_ps(s.largest + head);
  __m256 largest = before;
  for (int64_t key = 0; key < count; ++key) {
    const __m256 score = _mm256_mul_ps(_mm256_loadu_ps(weights + key * kHeads), scale);
    _mm256_storeu_ps(weights + key * kHeads, score);
    largest = _mm256_max_ps(score, largest);
  }
  __m256 total = _mm256_setzero_ps();
  for (int64_t key = 0; key < count; ++key) {
    const __m256 weight = exp_lanes(_mm256_sub_ps(_mm256_loadu_ps(weights + key * kHeads), largest));
    total = _mm256_add_ps(total, weight);
    _mm256_storeu_ps(weights + key * kHeads, rounded(weight, p.precision));
  }
  const __m256 factor = exp_lanes(_mm256_sub_ps(before, largest));
  _mm256_storeu_ps(s.totals + head, _mm256_fmadd_ps(_mm256_loadu_ps(s.totals + head), factor, total));
  _mm256_storeu_ps(s.factors + head, factor);
  _mm256_storeu_ps(s.largest + head, largest);
}

// sums[h] = factors[h] * sums[h] + weights[., h] x latents, 16 columns at a time, whose keys lie in L1 for
// all heads.
void add_values(const AbsorbedAttentionParams& p, const Scratch& s, int64_t count, bool is_first) {
  for (int64_t column = 0; column < p.cache.latent_dim; column += 16) {
    for (int64_t group = 0; group < s.groups; ++group) {
      const int64_t end = min_of(p.num_heads, (group + 1) * kHeads);
      for (int64_t head = group * kHeads; head < end;) {
        const int64_t rows = next_tile_rows(end - head, kTileRows);
        const float* weights = s.weights + group * kKeyBlock * kHeads + head % kHeads;
        with_count<kTileRows>(rows, [&](auto number) {
          add_tile<decltype(number)::value>({weights, 1, kHeads}, s.keys + column, s.key_stride, count,
                                            is_first ? nullptr : s.factors + head,
                                            s.sums + head * s.sums_stride + column, s.sums_stride);
        });
        head += rows;
      }
    }
  }
}

}  // namespace

void absorbed_attention(const AbsorbedAttentionParams& p) {
  const int64_t latent_dim = p.cache.latent_dim;
  const Scratch s = divide(p);
  transpose_queries(p, s);
  for (int64_t h = 0; h < s.groups * kHeads; ++h) {
    s.largest[h] = -kInfinity;
    s.totals[h] = 0;
  }
  for (int64_t first = p.key_begin; first < p.key_end; first += kKeyBlock) {
    const int64_t count = min_of(kKeyBlock, p.key_end - first);
    for (int64_t key = 0; key < count; ++key) {
      float* to = s.keys + key * s.key_stride;
      const uint8_t* row = cached_row(p.cache, p.page_table, first + key);
      decode_latent(p.cache, row, to, latent_dim);
      decode_rope(p.cache, row, to + latent_dim, s.key_stride - latent_dim);
    }
    for (int64_t group = 0; group < s.groups; ++group) score_group(p, s, group, count);
    for (int64_t head = 0; head < p.num_heads; head += kLanes) join_block(p, s, head, count);
    add_values(p, s, count, first == p.key_begin);
  }
  for (int64_t h = 0; h < p.num_heads; ++h) {
    memcpy(p.out + h * latent_dim, s.sums + h * s.sums_stride,
           static_cast<size_t>(latent_dim) * sizeof(float));
    p.max[h] = s.largest[h];
    p.sum[h] = s.totals[h];
  }
}

// Reads each split's sums once.
void merge_splits(const MergeSplitsParams& p) {
  for (int64_t h = p.begin; h < p.end; ++h) {
    float largest = p.max[h];
    for (int64_t s = 1; s < p.num_splits; ++s) {
      const float other = p.max[s * p.num_heads + h];
      largest = other > largest ? other : largest;
    }
    float total = 0;
    float* y = p.y + h * p.latent_dim;
    for (int64_t s = 0; s < p.num_splits; ++s) {
      const float factor = exp_one(p.max[s * p.num_heads + h] - largest);
      total += factor * p.sum[s * p.num_heads + h];
      const float* out = p.out + s * p.split_stride + h * p.latent_dim;
      for (int64_t i = 0; i < p.latent_dim; i += kLanes) {
        const int64_t count = p.latent_dim - i;
        const __m256 before = s == 0 ? _mm256_setzero_ps() : load_lanes(y + i, count);
        store_lanes(y + i, count,
                    _mm256_fmadd_ps(_mm256_set1_ps(factor), load_lanes(out + i, count), before));
      }
    }
    const __m256 divisor = _mm256_set1_ps(total);
    for (int64_t i = 0; i < p.latent_dim; i += kLanes) {
      const int64_t count = p.latent_dim - i;
      store_lanes(y + i, count, _mm256_div_ps(load_lanes(y + i, count), divisor));
    }
  }
}

}  // namespace fathom::kernels::avx2
