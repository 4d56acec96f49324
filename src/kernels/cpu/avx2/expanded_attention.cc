#include "kernels/cpu/avx2/cache.h"
#include "kernels/cpu/avx2/kernels.h"

namespace fathom::kernels::avx2 {
namespace {

// A block of 64 keys at a time: its latents are decoded and expanded to keys and values by the head's parts
// of kv_b_proj, the keys transposed into four groups of 16 keys side by side, and six tokens at a time take
// scores, softmax and weighted values of it. Per key: R (n + v) multiply-adds to expand and n + r + v for
// each token that sees it; the bound is the multipliers.
constexpr int64_t kGroupKeys = 16;

// The scratch, all in floats.
struct Scratch {
  float* latents;     // [kKeyBlock, latent_stride], zeros from R on
  float* keys;        // [kKeyBlock, key_stride]: expanded, rotated
  float* transposed;  // [kKeyBlock / 16, key_stride, 16]
  float* values;      // [kKeyBlock, value_stride]
  float* queries;     // [T, key_stride]; kBFloat16 only
  float* sums;        // [T, sums_stride]
  float* largest;     // [T]
  float* totals;      // [T]
  int64_t latent_stride;
  int64_t key_dim;
  int64_t key_stride;
  int64_t value_stride;
  int64_t sums_stride;
};

Scratch divide(const ExpandedAttentionParams& p) {
  Scratch s;
  s.latent_stride = spread_stride(p.cache.latent_dim);
  s.key_dim = p.nope_dim + p.cache.rope_dim;
  s.key_stride = round_up(s.key_dim, 16);
  s.value_stride = spread_stride(p.v_dim);
  s.sums_stride = round_up(p.v_dim, 16);
  s.latents = static_cast<float*>(p.scratch);
  s.keys = s.latents + kKeyBlock * s.latent_stride;
  s.transposed = s.keys + kKeyBlock * s.key_stride;
  s.values = s.transposed + kKeyBlock * s.key_stride;
  s.queries = s.values + kKeyBlock * s.value_stride;
  s.sums = s.queries + p.num_tokens * s.key_stride;
  s.largest = s.sums + p.num_tokens * s.sums_stride;
  s.totals = s.largest + p.num_tokens;
  return s;
}

// The tokens' queries as they are multiplied: where they lie, and how far apart.
TileInputs prepare_queries(const ExpandedAttentionParams& p, const Scratch& s) {
  if (p.precision == AttentionPrecision::kFloat32) return {p.q, p.q_stride, 1};
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    for (int64_t i = 0; i < s.key_dim; i += kLanes) {
      const int64_t count = s.key_dim - i;
      const __m256 q = round_bfloat16(load_lanes(p.q + t * p.q_stride + i, count));
      store_lanes(s.queries + t * s.key_stride + i, count, q);
    }
  }
  return {s.queries, s.key_stride, 1};
}

// to[k, 16 panel + j] = latents[k] . panel j, for count keys.
template <typename Lines>
void expand(const ExpandedAttentionParams& p, const Scratch& s, const void* panels, int64_t num_outputs,
            int64_t count, float* to, int64_t stride) {
  const int64_t num_lines = (p.cache.latent_dim + Lines::kInputs - 1) / Lines::kInputs;
  const int64_t bytes = panel_bytes(p.cache.latent_dim, p.kv_b_format);
  for (int64_t panel = 0; panel < num_panels(num_outputs); ++panel) {
    const auto* line = static_cast<const uint8_t*>(panels) + panel * bytes;
    for (int64_t first = 0; first < count;) {
      const int64_t rows = next_tile_rows(count - first, kTileRows);
      with_count<kTileRows>(rows, [&](auto number) {
        constexpr int kRows = decltype(number)::value;
        TileSums<kRows, 2> tile;
        clear(tile);
        multiply<Lines>({s.latents + first * s.latent_stride, s.latent_stride, 1}, line, kLineBytes,
                        num_lines, tile);
        float* out = to + first * stride + panel * kPanelRows;
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m) {
          Lines::put_in_order(tile.v[m][0], tile.v[m][1]);
          _mm256_storeu_ps(out + m * stride, rounded(tile.v[m][0], p.precision));
          _mm256_storeu_ps(out + m * stride + kLanes, rounded(tile.v[m][1], p.precision));
        }
      });
      first += rows;
    }
  }
}

template <typename Lines>
void expand_both(const ExpandedAttentionParams& p, const Scratch& s, int64_t count) {
  expand<Lines>(p, s, p.key_panels, p.nope_dim, count, s.keys, s.key_stride);
  expand<Lines>(p, s, p.value_panels, p.v_dim, count, s.values, s.value_stride);
}

// to[j, i] = from[i, j] of 8 x 8 floats, 16 apart there.
void transpose_8x8(const float* from, int64_t from_stride, float* to) {
  __m256 halves[8];  // rows i and i + 4: columns 0 to 3 in the first four registers, then 4 to 7
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const float* upper = from + i % 4 * from_stride + i / 4 * 4;
    halves[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(upper)),
                                     _mm_loadu_ps(upper + 4 * from_stride), 1);
  }
#pragma GCC unroll 2
  for (int side = 0; side < 2; ++side) {
    const __m256* h = halves + 4 * side;
    float* out = to + 4 * side * kGroupKeys;
    const __m256 a = _mm256_unpacklo_ps(h[0], h[1]);
    const __m256 b = _mm256_unpackhi_ps(h[0], h[1]);
    const __m256 c = _mm256_unpacklo_ps(h[2], h[3]);
    const __m256 d = _mm256_unpackhi_ps(h[2], h[3]);
    _mm256_storeu_ps(out, _mm256_shuffle_ps(a, c, 0x44));
    _mm256_storeu_ps(out + kGroupKeys, _mm256_shuffle_ps(a, c, 0xee));
    _mm256_storeu_ps(out + 2 * kGroupKeys, _mm256_shuffle_ps(b, d, 0x44));
    _mm256_storeu_ps(out + 3 * kGroupKeys, _mm256_shuffle_ps(b, d, 0xee));
  }
}

// Latents, expanded keys and values of the keys at positions [first, first + count). Keys beyond count are
// whatever the scratch holds: they fill lanes that nothing reads.
void expand_block(const ExpandedAttentionParams& p, const Scratch& s, int64_t first, int64_t count) {
  for (int64_t key = 0; key < count; ++key) {
    decode_latent(p.cache, cached_row(p.cache, p.page_table, first + key), s.latents + key * s.latent_stride,
                  s.latent_stride);
  }
  if (p.kv_b_format == PanelFormat::kBFloat16) {
    expand_both<BFloat16Lines>(p, s, count);
  } else if (p.kv_b_format == PanelFormat::kFloat16) {
    expand_both<Float16Lines>(p, s, count);
  } else {
    expand_both<Float32Lines>(p, s, count);
  }
  // After the expansion, which writes whole panels.
  for (int64_t key = 0; key < count; ++key) {
    decode_rope(p.cache, cached_row(p.cache, p.page_table, first + key),
                s.keys + key * s.key_stride + p.nope_dim, p.cache.rope_dim);
  }
  for (int64_t key = 0; key < count; key += 8) {
    float* group = s.transposed + key / kGroupKeys * s.key_stride * kGroupKeys + key % kGroupKeys;
    for (int64_t i = 0; i < s.key_dim; i += 8) {
      transpose_8x8(s.keys + key * s.key_stride + i, s.key_stride, group + i * kGroupKeys);
    }
  }
}

// Scores of a block, of which the first `visible` count, join the running softmax of token t. Returns what
// the token's sums are to be multiplied by; scores become weights.
float join_block(const ExpandedAttentionParams& p, const Scratch& s, int64_t t, int64_t visible,
                 float* scores) {
  const __m256 scale = _mm256_set1_ps(p.scale);
  const __m256 hidden = _mm256_set1_ps(-kInfinity);
  __m256 largest_lanes = hidden;
  __m256 lanes[kKeyBlock / kLanes];
#pragma GCC unroll 8
  for (int v = 0; v < kKeyBlock / kLanes; ++v) {
    const __m256 mask = _mm256_castsi256_ps(lane_mask(visible - v * kLanes));
    lanes[v] = _mm256_blendv_ps(hidden, _mm256_mul_ps(_mm256_loadu_ps(scores + v * kLanes), scale), mask);
    largest_lanes = _mm256_max_ps(lanes[v], largest_lanes);
  }
  const float block_largest = max_lanes(largest_lanes);
  const float largest = block_largest > s.largest[t] ? block_largest : s.largest[t];
  __m256 total = _mm256_setzero_ps();
#pragma GCC unroll 8
  for (int v = 0; v < kKeyBlock / kLanes; ++v) {
    const __m256 weights = exp_lanes(_mm256_sub_ps(lanes[v], _mm256_set1_ps(largest)));
    total = _mm256_add_ps(total, weights);
    _mm256_storeu_ps(scores + v * kLanes, rounded(weights, p.precision));
  }
  const float factor = exp_one(s.largest[t] - largest);
  s.largest[t] = largest;
  s.totals[t] = s.totals[t] * factor + sum_lanes(total);
  return factor;
}

// Keys of the block at `first` that token t sees: a whole block but for the last.
int64_t visible_keys(const ExpandedAttentionParams& p, int64_t first, int64_t t) {
  return min_of(kKeyBlock, p.first_position + t + 1 - first);
}

// Tokens [t, t + kRows) take a block.
template <int kRows>
void attend(const ExpandedAttentionParams& p, const Scratch& s, const TileInputs& queries, int64_t first,
            int64_t t) {
  alignas(32) float scores[kRows][kKeyBlock];
  float factors[kRows];
  const int64_t most = visible_keys(p, first, t + kRows - 1);
  const TileInputs in{queries.x + t * queries.row_stride, queries.row_stride, 1};
  for (int64_t key = 0; key < most; key += kGroupKeys) {
    add_tile<kRows>(in, s.transposed + key * s.key_stride, kGroupKeys, s.key_dim, nullptr, scores[0] + key,
                    kKeyBlock);
  }
  for (int m = 0; m < kRows; ++m)
    factors[m] = join_block(p, s, t + m, visible_keys(p, first, t + m), scores[m]);
  // What all the tile's tokens see together, then what each sees beyond: a token's sum has no terms of keys
  // that it does not see, not even zeros.
  const int64_t least = visible_keys(p, first, t);
  for (int64_t column = 0; column < p.v_dim; column += 16) {
    float* sums = s.sums + t * s.sums_stride + column;
    add_tile<kRows>({scores[0], kKeyBlock, 1}, s.values + column, s.value_stride, least,
                    first == 0 ? nullptr : factors, sums, s.sums_stride);
    for (int m = 1; m < kRows && least < kKeyBlock; ++m) {
      const float one = 1.0f;
      add_tile<1>({scores[m] + least, kKeyBlock, 1}, s.values + least * s.value_stride + column,
                  s.value_stride, visible_keys(p, first, t + m) - least, &one, sums + m * s.sums_stride,
                  s.sums_stride);
    }
  }
}

}  // namespace

void expanded_attention(const ExpandedAttentionParams& p) {
  const Scratch s = divide(p);
  const TileInputs queries = prepare_queries(p, s);
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    s.largest[t] = -kInfinity;
    s.totals[t] = 0;
  }
  const int64_t num_keys = p.first_position + p.num_tokens;
  for (int64_t first = 0; first < num_keys; first += kKeyBlock) {
    expand_block(p, s, first, min_of(kKeyBlock, num_keys - first));
    for (int64_t t = max_of(first - p.first_position, 0); t < p.num_tokens;) {
      const int64_t rows = next_tile_rows(p.num_tokens - t, kTileRows);
      with_count<kTileRows>(rows,
                            [&](auto number) { attend<decltype(number)::value>(p, s, queries, first, t); });
      t += rows;
    }
  }
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    const __m256 divisor = _mm256_set1_ps(s.totals[t]);
    for (int64_t i = 0; i < p.v_dim; i += kLanes) {
      store_lanes(p.out + t * p.out_stride + i, p.v_dim - i,
                  _mm256_div_ps(_mm256_loadu_ps(s.sums + t * s.sums_stride + i), divisor));
    }
  }
}

}  // namespace fathom::kernels::avx2
