// Expanded attention of one head in bf16 tiles, everything transposed: keys are rows, tokens are lanes.
//
//   a block of 64 keys, once:
//     keys [64 x n] and values [64 x v] = latents [16 keys x R] . panels; rounded to bf16; the rotated key
//     joins the keys; values are turned to [v x 64 keys]
//   then for each tile of 16 tokens that sees the block:
//     scores [64 keys x 16 tokens] = keys . queries        (queries are packed once a call)
//     weights = e^(score - running maximum), lane by lane: no sum across lanes, no transposition
//     out [v x 16 tokens] = out * e^(old - new maximum) + values . weights
//
// Tiles of tokens start at multiples of 16 positions, blocks of keys at multiples of 64: all tokens of a tile
// see the same blocks, and a token's lane sees nothing of the others. So its bits depend on its position and
// the cache alone. (A value that is not finite reaches the earlier tokens of its own block: 0 times it is
// NaN.) The scores of the next tile are multiplied while this tile's weights are computed.
//
// n + r = 192, v = 128, R = 512: a block's expansion is 1024 products (16.4k cycles) and about 4k cycles of
// rounding and turning; a tile's pass over a block 24 + 16 products (640 cycles) and about 1000 cycles of
// AVX-512, mostly 64 exponentials, some 250 of them behind the next tile's products. Without its tile
// instructions the code takes 4.8k cycles a block and 1.7k a pass on Zen 4 (2026-11-24), which halves 512-bit
// operations.
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

constexpr int64_t kTokenTile = 16;
constexpr int64_t kValueGroup = 4;  // tiles of values whose sums are in tiles together
constexpr int64_t kValueSteps = kKeyBlock / kStepElements;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

struct Segment {
  explicit Segment(const ExpandedAttentionParams& params)
      : p(params),
        latents(params.cache, params.page_table),
        num_keys(params.first_position + params.num_tokens),
        first_tile(params.first_position / kTokenTile),
        num_tiles((num_keys + kTokenTile - 1) / kTokenTile - first_tile),
        nope_steps(num_steps(params.nope_dim)),
        key_steps(nope_steps + latents.rope_steps),
        key_stride(key_steps * kTileRowBytes),
        value_tiles((params.v_dim + kTileRows * kValueGroup - 1) / (kTileRows * kValueGroup) * kValueGroup),
        latent_rows(static_cast<uint8_t*>(params.scratch)),
        keys(latent_rows + kKeyBlock * latents.stride),
        values(keys + kKeyBlock * key_stride),
        queries(values + value_tiles * kValueSteps * kTileBytes),
        out(reinterpret_cast<float*>(queries + num_tiles * key_steps * kTileBytes)),
        max(out + num_tiles * value_tiles * kTileBytes / 4),
        sum(max + num_tiles * kTokenTile) {}

  float* out_tile(int64_t tile) const { return out + tile * value_tiles * kTileBytes / 4; }

  const ExpandedAttentionParams& p;
  const LatentRows latents;
  const int64_t num_keys;
  const int64_t first_tile;
  const int64_t num_tiles;
  const int64_t nope_steps;
  const int64_t key_steps;
  const int64_t key_stride;    // bytes
  const int64_t value_tiles;   // whole groups
  uint8_t* const latent_rows;  // [64 keys, latents.stride]: copies, where the cache's rows are no tiles
  uint8_t* const keys;     // [64 keys, key_stride]: the block's keys, n padded to whole steps | r likewise
  uint8_t* const values;   // [value_tiles, 2] tiles [16 of v, 32 keys]
  uint8_t* const queries;  // [tiles, key_steps] tiles
  float* const out;        // [tiles, value_tiles] tiles [16 of v, 16 tokens]
  float* const max;        // [tiles, 16]
  float* const sum;        // [tiles, 16]
};

void pack_tokens(const Segment& segment) {
  const ExpandedAttentionParams& p = segment.p;
  for (int64_t tile = 0; tile < segment.num_tiles; ++tile) {
    const float* tokens[kTokenTile] = {};
    for (int64_t lane = 0; lane < kTokenTile; ++lane) {
      const int64_t t = (segment.first_tile + tile) * kTokenTile + lane - p.first_position;
      if (t >= 0 && t < p.num_tokens) tokens[lane] = p.q + t * p.q_stride;
    }
    pack_queries(tokens, p.nope_dim, p.cache.rope_dim,
                 segment.queries + tile * segment.key_steps * kTileBytes);
    _mm512_store_ps(segment.max + tile * kTokenTile, _mm512_set1_ps(-__builtin_inff()));
    _mm512_store_ps(segment.sum + tile * kTokenTile, _mm512_setzero_ps());
  }
}

// Keys [key, key + count) of a block.
struct Block {
  Block(const Segment& segment, int64_t first)
      : key(first), count(smaller(segment.num_keys - first, kKeyBlock)) {
    for (int64_t s = 0; s < kKeyBlock; ++s) {
      rows[s] = segment.latents.row(key + smaller(s, count - 1));
      scales[s] = s < count ? segment.latents.scale(rows[s]) : 0.0f;
    }
  }
  // Steps of 32 keys that hold any.
  int64_t steps() const { return num_steps(count); }

  int64_t key;
  int64_t count;
  const uint8_t* rows[kKeyBlock];
  float scales[kKeyBlock];
};

// The products of the block's latents and a matrix's panels, 32 keys and up to 32 outputs at a time;
// write(first key, panel, tile of 16 keys by 16 outputs).
template <typename Write>
void expand(const Segment& segment, const Block& block, const void* panels, int64_t outputs,
            const Write& write) {
  const LatentRows& latents = segment.latents;
  const int64_t bytes = latents.latent_steps * kTileBytes;
  const int64_t num = num_panels(outputs);
  Prefetch none;
  constexpr int64_t kTileSums = kTileBytes / 4;
  alignas(64) float sums[4 * kTileSums];
  const uint8_t* tiles[4];
  for (int64_t i = 0; i < 2 * block.steps(); ++i) {
    tiles[i] = latents.tile(block.rows + i * kTileRows, block.count - i * kTileRows,
                            segment.latent_rows + i * kTileRows * latents.stride);
  }
  for (int64_t panel = 0; panel < num; panel += 2) {
    const auto* first_panel = static_cast<const uint8_t*>(panels) + panel * bytes;
    const uint8_t* const pair[2] = {first_panel, first_panel + bytes};
    for (int64_t step = 0; step < block.steps(); ++step) {
      const uint8_t* const rows[2] = {tiles[2 * step], tiles[2 * step + 1]};
      const int64_t key = step * kStepElements;
      if (panel + 1 < num) {
        multiply<Product::kBFloat16, 2, 2>(rows, latents.stride, pair, latents.latent_steps, none);
        store_sums<2, 2>(sums);
        write(key, panel + 1, sums + kTileSums);
        write(key + kTileRows, panel + 1, sums + 3 * kTileSums);
      } else {
        multiply<Product::kBFloat16, 2, 1>(rows, latents.stride, pair, latents.latent_steps, none);
        store_sums<2, 1>(sums);
      }
      write(key, panel, sums);
      write(key + kTileRows, panel, sums + 2 * kTileSums);
    }
  }
}

void expand_keys(const Segment& segment, const Block& block) {
  expand(segment, block, segment.p.key_panels, segment.p.nope_dim,
         [&](int64_t key, int64_t panel, const float* tile) {
           uint8_t* out = segment.keys + key * segment.key_stride + panel * kTileRows * 2;
           for (int64_t m = 0; m < kTileRows; ++m) {
             const __m512 scale = _mm512_set1_ps(block.scales[key + m]);
             const __m256i row = to_bf16(_mm512_mul_ps(_mm512_load_ps(tile + m * 16), scale));
             _mm256_store_si256(reinterpret_cast<__m256i*>(out + m * segment.key_stride), row);
           }
         });
  for (int64_t s = 0; s < block.count; ++s) {
    uint8_t* out = segment.keys + s * segment.key_stride + segment.nope_steps * kTileRowBytes;
    for (int64_t i = 0; i < segment.latents.rope_steps; ++i) {
      _mm512_store_si512(out + i * kTileRowBytes, segment.latents.rope(block.rows[s], i * kStepElements));
    }
  }
}

void expand_values(const Segment& segment, const Block& block) {
  expand(segment, block, segment.p.value_panels, segment.p.v_dim,
         [&](int64_t key, int64_t panel, const float* tile) {
           __m512i columns[16];
           for (int m = 0; m < kTileRows; ++m) {
             const __m512 scale = _mm512_set1_ps(block.scales[key + m]);
             columns[m] = _mm512_castps_si512(_mm512_mul_ps(_mm512_load_ps(tile + m * 16), scale));
           }
           transpose(columns);
           uint8_t* out = segment.values + (panel * kValueSteps + key / kStepElements) * kTileBytes +
                          key % kStepElements * 2;
           for (int i = 0; i < kTileRows; ++i) {
             _mm256_store_si256(reinterpret_cast<__m256i*>(out + i * kTileRowBytes),
                                to_bf16(_mm512_castsi512_ps(columns[i])));
           }
         });
}

// Puts the scores of a tile of tokens in tiles 0 to 3.
void multiply_scores(const Segment& segment, int64_t tile) {
  const int64_t stride = segment.key_stride;
  const uint8_t* const keys[4] = {segment.keys, segment.keys + 16 * stride, segment.keys + 32 * stride,
                                  segment.keys + 48 * stride};
  zero_sums();
  multiply_keys(keys, stride, segment.queries + tile * segment.key_steps * kTileBytes, segment.key_steps,
                [](int64_t) {});
}

// From scores [64 keys, 16 tokens] the weights as right-hand operands [2 tiles], the running maximum and sum.
// Returns e^(old maximum - new).
__m512 weigh(const Segment& segment, const Block& block, int64_t tile, const float* scores,
             uint8_t* weights) {
  const __m512 scale = _mm512_set1_ps(segment.p.scale);
  const int64_t position = (segment.first_tile + tile) * kTokenTile;
  // Keys beyond the tile's last token weigh nothing; of key s the tokens before it see nothing.
  const int64_t seen = smaller(block.count, position + kTokenTile - block.key);
  const auto sees = [&](int64_t s) {
    const int64_t hidden = block.key + s - position;
    return static_cast<__mmask16>(hidden <= 0 ? 0xffff : 0xffff << hidden);
  };
  float* max = segment.max + tile * kTokenTile;
  float* sum = segment.sum + tile * kTokenTile;
  const __m512 old_max = _mm512_load_ps(max);
  __m512 largest = _mm512_set1_ps(-__builtin_inff());
  for (int64_t s = 0; s < seen; ++s) {
    largest = _mm512_mask_max_ps(largest, sees(s), largest, _mm512_load_ps(scores + s * kTokenTile));
  }
  const __m512 new_max = _mm512_max_ps(old_max, _mm512_mul_ps(largest, scale));
  const __m512 factor = exp_lanes(_mm512_sub_ps(old_max, new_max));
  __m512 new_sum = _mm512_mul_ps(_mm512_load_ps(sum), factor);
  const auto weight = [&](int64_t s) {
    if (s >= seen) return _mm512_setzero_ps();
    const __m512 score = _mm512_load_ps(scores + s * kTokenTile);
    return _mm512_maskz_mov_ps(sees(s), exp_lanes(_mm512_fmsub_ps(score, scale, new_max)));
  };
  for (int64_t line = 0; line < block.steps() * kTileRows; ++line) {
    const __m512 even = weight(2 * line), odd = weight(2 * line + 1);
    new_sum = _mm512_add_ps(_mm512_add_ps(new_sum, even), odd);
    _mm512_store_si512(weights + line * kTileRowBytes, to_bf16_pairs(even, odd));
  }
  _mm512_store_ps(max, new_max);
  _mm512_store_ps(sum, new_sum);
  return factor;
}

// out = out * factor + values . weights
void add_values(const Segment& segment, const Block& block, int64_t tile, const uint8_t* weights,
                __m512 factor) {
  float* out = segment.out_tile(tile);
  const bool first = block.key == 0;
  // Multiplying by 1 changes nothing: most blocks do not raise any token's maximum.
  if (!first && _mm512_cmp_ps_mask(factor, _mm512_set1_ps(1.0f), _CMP_NEQ_UQ) != 0) {
    for (int64_t i = 0; i < segment.value_tiles * kTileRows; ++i) {
      _mm512_store_ps(out + i * 16, _mm512_mul_ps(_mm512_load_ps(out + i * 16), factor));
    }
  }
  for (int64_t group = 0; group < segment.value_tiles; group += kValueGroup) {
    float* sums = out + group * kTileBytes / 4;
    if (first) {
      zero_sums();
    } else {
      load_sums(sums);
    }
    for (int64_t step = 0; step < block.steps(); ++step) {
      const uint8_t* values = segment.values + (group * kValueSteps + step) * kTileBytes;
      load<6>(weights + step * kTileBytes, kTileRowBytes);
      load<4>(values, kTileRowBytes);
      dot_bf16<0, 4, 6>();
      load<5>(values + kValueSteps * kTileBytes, kTileRowBytes);
      dot_bf16<1, 5, 6>();
      load<4>(values + 2 * kValueSteps * kTileBytes, kTileRowBytes);
      dot_bf16<2, 4, 6>();
      load<5>(values + 3 * kValueSteps * kTileBytes, kTileRowBytes);
      dot_bf16<3, 5, 6>();
    }
    store_sums<2, 2>(sums);
  }
}

// Every token of the segment that sees the block.
void attend(const Segment& segment, const Block& block) {
  const int64_t block_tile = block.key / kTokenTile;
  const int64_t begin = block_tile > segment.first_tile ? block_tile - segment.first_tile : 0;
  alignas(64) float scores[kKeyBlock * kTokenTile];
  alignas(64) uint8_t weights[kValueSteps * kTileBytes];
  multiply_scores(segment, begin);
  store_sums<2, 2>(scores);
  for (int64_t tile = begin; tile < segment.num_tiles; ++tile) {
    const bool has_next = tile + 1 < segment.num_tiles;
    if (has_next) multiply_scores(segment, tile + 1);
    const __m512 factor = weigh(segment, block, tile, scores, weights);
    if (has_next) store_sums<2, 2>(scores);
    add_values(segment, block, tile, weights, factor);
  }
}

void write_out(const Segment& segment) {
  const ExpandedAttentionParams& p = segment.p;
  for (int64_t tile = 0; tile < segment.num_tiles; ++tile) {
    const __m512 sum = _mm512_load_ps(segment.sum + tile * kTokenTile);
    for (int64_t i = 0; i < p.v_dim; i += kTileRows) {
      const float* rows = segment.out_tile(tile) + i * kTokenTile;
      __m512i tokens[16];
      for (int j = 0; j < 16; ++j) {
        tokens[j] = _mm512_castps_si512(_mm512_div_ps(_mm512_load_ps(rows + j * 16), sum));
      }
      transpose(tokens);
      for (int64_t lane = 0; lane < kTokenTile; ++lane) {
        const int64_t t = (segment.first_tile + tile) * kTokenTile + lane - p.first_position;
        if (t < 0 || t >= p.num_tokens) continue;
        _mm512_mask_storeu_ps(p.out + t * p.out_stride + i, first_lanes(p.v_dim - i),
                              _mm512_castsi512_ps(tokens[lane]));
      }
    }
  }
}

}  // namespace

void expanded_attention(const ExpandedAttentionParams& p) {
  if (p.precision != AttentionPrecision::kBFloat16 || p.kv_b_format != PanelFormat::kBFloat16) {
    return other_kernels::expanded_attention(p);
  }
  const Segment segment(p);
  const TileScope tiles;
  pack_tokens(segment);
  // Padding between n and its last whole step is zero for good.
  memset(segment.keys, 0, static_cast<size_t>(kKeyBlock * segment.key_stride));
  for (int64_t key = 0; key < segment.num_keys; key += kKeyBlock) {
    const Block block(segment, key);
    expand_keys(segment, block);
    expand_values(segment, block);
    attend(segment, block);
  }
  write_out(segment);
}

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE
