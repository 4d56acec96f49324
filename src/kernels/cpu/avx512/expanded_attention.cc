// Expanded attention of one head, blocks of kKeyBlock keys by absolute position.
//
// A block's keys and values are expanded once and written as panels of lines, then every tile of eight tokens
// that sees the block takes
//
//   scores   [8][64]         tokens x keys:    q's words, lines of keys     [16-key panel][k word][16]
//   weights  [8][key words]  words             of the same
//   sums     [8][v]          tokens x values:  weights' words, lines of values [16-value panel][key word][16]
//
// A token is a row of its own everywhere, and a key that it does not see has weight 0 exactly, so its bits
// depend on its own query and on the keys up to its position only.
#include "kernels/cpu/avx512/attention.h"
#include "kernels/cpu/avx512/cache_rows.h"
#include "kernels/cpu/avx512/exp.h"

namespace fathom::kernels::avx512 {
namespace {

constexpr int kRowTile = 8;
constexpr int kKeyPanels = kKeyBlock / kLanes;
constexpr float kMinusInfinity = -__builtin_inff();

// Sizes, and where things lie in scratch. Row strides are in bytes.
struct Work {
  int64_t latent_words, latent_stride;
  int64_t nope_words, key_words, q_stride, key_stride;
  int64_t v_panels, v_width;
  int64_t value_lines;  // of a panel of values
  uint8_t* q;           // [T8][q_stride] words: n, filled up, then r
  float* sums;          // [T8][v_width]
  float* lane_sums;     // [T8][16] sums of weights, added at the end
  float* max;           // [T8]
  uint8_t* latents;     // [kKeyBlock][latent_stride] words
  uint8_t* key_rows;    // [kKeyBlock][key_stride] words
  uint8_t* keys;        // [kKeyPanels][key_words] lines
  uint8_t* values;      // [v_panels][value_lines] lines
  float* scores;        // [kRowTile][kKeyBlock]
  uint8_t* weights;     // [kRowTile][kKeyBlock] words
  float* scales;        // [kKeyBlock] of the latents
};

template <typename Words>
Work lay_out(const ExpandedAttentionParams& p) {
  Work w;
  const int64_t tokens = round_up(p.num_tokens, kRowTile);
  const int64_t rope_words = words_of<Words>(p.cache.rope_dim);
  w.latent_words = words_of<Words>(p.cache.latent_dim);
  // A line more than the words, zeros: rows do not all fall into the same sets of the L1 cache.
  w.latent_stride = (round_up(w.latent_words, kLanes) + kLanes) * kWordBytes;
  w.nope_words = words_of<Words>(p.nope_dim);
  w.key_words = w.nope_words + rope_words;
  w.q_stride = round_up(w.key_words, kLanes) * kWordBytes;
  w.key_stride =
      (round_up(p.nope_dim, kPanelRows) / Words::kElements + round_up(rope_words, kLanes)) * kWordBytes;
  w.v_panels = num_panels(p.v_dim);
  w.v_width = w.v_panels * kPanelRows;
  w.value_lines = kKeyBlock / Words::kElements;
  w.q = static_cast<uint8_t*>(p.scratch);
  w.sums = reinterpret_cast<float*>(w.q + tokens * w.q_stride);
  w.lane_sums = w.sums + tokens * w.v_width;
  w.max = w.lane_sums + tokens * kLanes;
  w.latents = reinterpret_cast<uint8_t*>(w.max + round_up(tokens, kLanes));
  w.key_rows = w.latents + kKeyBlock * w.latent_stride;
  w.keys = w.key_rows + kKeyBlock * w.key_stride;
  w.values = w.keys + kKeyPanels * w.key_words * kLineBytes;
  w.scores = reinterpret_cast<float*>(w.values + w.v_panels * w.value_lines * kLineBytes);
  w.weights = reinterpret_cast<uint8_t*>(w.scores + kRowTile * kKeyBlock);
  w.scales = reinterpret_cast<float*>(w.weights + kRowTile * kKeyBlock * kWordBytes);
  return w;
}

template <typename Words>
void start(const ExpandedAttentionParams& p, const Work& w) {
  const int64_t tokens = round_up(p.num_tokens, kRowTile);
  memset(w.q + (tokens - kRowTile) * w.q_stride, 0, static_cast<size_t>(kRowTile * w.q_stride));
  memset(w.latents, 0, static_cast<size_t>(kKeyBlock * w.latent_stride));
  memset(w.sums, 0, static_cast<size_t>(tokens * w.v_width) * sizeof(float));
  memset(w.lane_sums, 0, static_cast<size_t>(tokens * kLanes) * sizeof(float));
  for (int64_t t = 0; t < tokens; ++t) w.max[t] = kMinusInfinity;
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    const float* q = p.q + t * p.q_stride;
    uint8_t* words = w.q + t * w.q_stride;
    pack_words<Words>(q, p.nope_dim, words);
    pack_words<Words>(q + p.nope_dim, p.cache.rope_dim, words + w.nope_words * kWordBytes);
  }
}

// outputs [keys][num_outputs] = latents panels^T, times the keys' scales, for the first `keys` keys (a
// multiple of eight): sink(key, panel, sums) gets eight keys and one or two panels at a time.
template <typename Words, typename Lines, typename Sink>
void expand(const ExpandedAttentionParams& p, const Work& w, const void* panels, int64_t num_outputs,
            int64_t keys, const Sink& sink) {
  const int64_t bytes = panel_bytes(p.cache.latent_dim, p.kv_b_format);
  const int64_t num_lines = (w.latent_words + Lines::kSteps - 1) / Lines::kSteps;
  const auto tiles = [&](int64_t panel, auto& sums) {
    const uint8_t* lines = static_cast<const uint8_t*>(panels) + panel * bytes;
    for (int64_t s = 0; s < keys; s += kRowTile) {
      const uint8_t* rows[kRowTile];
#pragma GCC unroll 8
      for (int i = 0; i < kRowTile; ++i) rows[i] = w.latents + (s + i) * w.latent_stride;
      clear(sums);
      multiply_add<Words, Lines>(rows, lines, bytes, num_lines, sums);
#pragma GCC unroll 8
      for (int i = 0; i < kRowTile; ++i) {
        const __m512 scale = _mm512_set1_ps(w.scales[s + i]);
        for (__m512& sum : sums[i]) sum = _mm512_mul_ps(sum, scale);
      }
      sink(s, panel, sums);
    }
  };
  int64_t panel = 0;
  for (; panel + 2 <= num_panels(num_outputs); panel += 2) {
    __m512 sums[kRowTile][2];
    tiles(panel, sums);
  }
  if (panel < num_panels(num_outputs)) {
    __m512 sums[kRowTile][1];
    tiles(panel, sums);
  }
}

// Fills keys and values from the block of `count` keys at position `first`. Lines of keys behind the last are
// not defined; those of values are 0 up to a multiple of eight.
template <typename Words, typename Lines>
void expand_block(const ExpandedAttentionParams& p, const Work& w, int64_t first, int64_t count) {
  const int64_t keys = round_up(count, kRowTile);
  for (int64_t s = 0; s < keys; ++s) {
    uint8_t* words = w.latents + s * w.latent_stride;
    if (s < count) {
      const uint8_t* row = cache_row(p.cache, p.page_table, first + s);
      w.scales[s] = row_scale(p.cache, row);
      decode_latent<Words>(p.cache, row, words);
    } else {
      w.scales[s] = 0;
      memset(words, 0, static_cast<size_t>(w.latent_words * kWordBytes));
    }
  }
  expand<Words, Lines>(p, w, p.key_panels, p.nope_dim, keys, [&](int64_t s, int64_t panel, auto& sums) {
#pragma GCC unroll 8
    for (int i = 0; i < kRowTile; ++i) {
      uint8_t* row = w.key_rows + (s + i) * w.key_stride;
      for (const __m512& sum : sums[i]) {
        Words::store(row + (panel + (&sum - sums[i])) * kPanelRows / Words::kElements * kWordBytes, sum);
      }
    }
  });
  for (int64_t s = 0; s < count; ++s) {
    decode_rope<Words>(p.cache, cache_row(p.cache, p.page_table, first + s),
                       w.key_rows + s * w.key_stride + w.nope_words * kWordBytes);
  }
  for (int64_t s = 0; s < count; s += kLanes) {
    to_panel(w.key_rows + s * w.key_stride, w.key_stride, w.key_words,
             w.keys + s / kLanes * w.key_words * kLineBytes);
  }
  expand<Words, Lines>(p, w, p.value_panels, p.v_dim, keys, [&](int64_t s, int64_t panel, auto& sums) {
#pragma GCC unroll 8
    for (int i = 0; i < kRowTile; i += Words::kElements) {
      for (const __m512& sum : sums[i]) {
        const auto column = &sum - sums[i];
        uint8_t* lines = w.values + (panel + column) * w.value_lines * kLineBytes;
        __m512i words = _mm512_castps_si512(sum);
        if constexpr (Words::kElements == 2) words = Words::pair(sum, sums[i + 1][column]);
        _mm512_store_si512(lines + (s + i) / Words::kElements * kLineBytes, words);
      }
    }
  });
}

// Scores of tokens [t, t + 8) with the first keys of the block, whole pairs of panels.
template <typename Words>
void make_scores(const Work& w, int64_t t, int64_t keys, float scale) {
  const uint8_t* rows[kRowTile];
#pragma GCC unroll 8
  for (int i = 0; i < kRowTile; ++i) rows[i] = w.q + (t + i) * w.q_stride;
  const int64_t bytes = w.key_words * kLineBytes;
  const __m512 factor = _mm512_set1_ps(scale);
  for (int64_t s = 0; s < keys; s += 2 * kLanes) {
    __m512 sums[kRowTile][2];
    clear(sums);
    multiply_add<Words, PlainLines>(rows, w.keys + s / kLanes * bytes, bytes, w.key_words, sums);
#pragma GCC unroll 8
    for (int i = 0; i < kRowTile; ++i) {
      _mm512_store_ps(w.scores + i * kKeyBlock + s, _mm512_mul_ps(sums[i][0], factor));
      _mm512_store_ps(w.scores + i * kKeyBlock + s + kLanes, _mm512_mul_ps(sums[i][1], factor));
    }
  }
}

// The scores of one token's row as the 4 panels it sees; -infinity for keys from `visible` on.
static inline void load_scores(const float* row, int64_t visible, __m512 (&scores)[kKeyPanels]) {
#pragma GCC unroll 4
  for (int i = 0; i < kKeyPanels; ++i) {
    const int64_t rest = visible - i * kLanes;
    scores[i] = _mm512_load_ps(row + i * kLanes);
    if (visible < kKeyBlock) {
      scores[i] = _mm512_mask_mov_ps(_mm512_set1_ps(kMinusInfinity), lanes16(rest > 0 ? rest : 0), scores[i]);
    }
  }
}

static inline void store_weights(Float32Words, const __m512 (&weights)[kKeyPanels], uint8_t* row) {
#pragma GCC unroll 4
  for (int i = 0; i < kKeyPanels; ++i) _mm512_store_ps(row + i * kLineBytes, weights[i]);
}

static inline void store_weights(BFloat16Words, const __m512 (&weights)[kKeyPanels], uint8_t* row) {
#pragma GCC unroll 2
  for (int i = 0; i < kKeyPanels; i += 2) {
    _mm512_store_si512(row + i / 2 * kLineBytes, (__m512i)_mm512_cvtne2ps_pbh(weights[i + 1], weights[i]));
  }
}

// The scores of a tile join the running softmax of its tokens, the first of which sees `visible` keys of the
// block and each next one more. The sums take the weights unrounded. Gives the lanes by which earlier sums
// must be multiplied.
template <typename Words>
__m512 make_weights(const Work& w, int64_t t, int64_t visible) {
  alignas(64) float max[kLanes] = {};
  const __m512 old_max = _mm512_maskz_loadu_ps(0xff, w.max + t);
  __m512 scores[kKeyPanels];
#pragma GCC unroll 8
  for (int i = 0; i < kRowTile; ++i) {
    load_scores(w.scores + i * kKeyBlock, visible + i, scores);
    max[i] = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_max_ps(scores[0], scores[1]), _mm512_max_ps(scores[2], scores[3])));
  }
  const __m512 new_max = _mm512_max_ps(old_max, _mm512_load_ps(max));
  _mm512_store_ps(max, new_max);
  _mm512_mask_storeu_ps(w.max + t, 0xff, new_max);
  const __m512 rescale = weight_lanes(_mm512_sub_ps(old_max, new_max));
  alignas(64) float factors[kLanes];
  _mm512_store_ps(factors, rescale);
  for (int i = 0; i < kRowTile; ++i) {
    load_scores(w.scores + i * kKeyBlock, visible + i, scores);
    const __m512 offset = _mm512_set1_ps(max[i]);
#pragma GCC unroll 4
    for (__m512& score : scores) score = weight_lanes(_mm512_sub_ps(score, offset));
    const __m512 sum =
        _mm512_add_ps(_mm512_add_ps(scores[0], scores[1]), _mm512_add_ps(scores[2], scores[3]));
    float* lane_sums = w.lane_sums + (t + i) * kLanes;
    _mm512_store_ps(lane_sums, _mm512_fmadd_ps(_mm512_load_ps(lane_sums), _mm512_set1_ps(factors[i]), sum));
    store_weights(Words{}, scores, w.weights + i * kKeyBlock * kWordBytes);
  }
  return rescale;
}

template <typename Words, int kPanels>
void add_panels(const Work& w, int64_t t, int64_t panel, int64_t key_words, const float* rescale) {
  const uint8_t* rows[kRowTile];
  __m512 acc[kRowTile][kPanels];
  float* sums = w.sums + t * w.v_width + panel * kPanelRows;
#pragma GCC unroll 8
  for (int i = 0; i < kRowTile; ++i) {
    rows[i] = w.weights + i * kKeyBlock * kWordBytes;
#pragma GCC unroll 2
    for (int j = 0; j < kPanels; ++j) {
      acc[i][j] = _mm512_load_ps(sums + i * w.v_width + j * kPanelRows);
      if (rescale != nullptr) acc[i][j] = _mm512_mul_ps(acc[i][j], _mm512_set1_ps(rescale[i]));
    }
  }
  const int64_t bytes = w.value_lines * kLineBytes;
  multiply_add<Words, PlainLines>(rows, w.values + panel * bytes, bytes, key_words, acc);
#pragma GCC unroll 8
  for (int i = 0; i < kRowTile; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kPanels; ++j) _mm512_store_ps(sums + i * w.v_width + j * kPanelRows, acc[i][j]);
  }
}

// sums = sums * rescale + weights values over the first keys of the block.
template <typename Words>
void add_values(const Work& w, int64_t t, int64_t keys, __m512 rescale) {
  alignas(64) float factors[kLanes];
  _mm512_store_ps(factors, rescale);
  // Multiplying by 1 changes nothing.
  const bool unchanged = (_mm512_cmp_ps_mask(rescale, _mm512_set1_ps(1.0f), _CMP_NEQ_UQ) & 0xff) == 0;
  const float* used = unchanged ? nullptr : factors;
  const int64_t key_words = words_of<Words>(keys);
  int64_t panel = 0;
  for (; panel + 2 <= w.v_panels; panel += 2) add_panels<Words, 2>(w, t, panel, key_words, used);
  if (panel < w.v_panels) add_panels<Words, 1>(w, t, panel, key_words, used);
}

void write_result(const ExpandedAttentionParams& p, const Work& w) {
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    const __m512 sum = _mm512_set1_ps(_mm512_reduce_add_ps(_mm512_load_ps(w.lane_sums + t * kLanes)));
    for (int64_t i = 0; i < p.v_dim; i += kLanes) {
      _mm512_mask_storeu_ps(p.out + t * p.out_stride + i, lanes16(p.v_dim - i),
                            _mm512_div_ps(_mm512_load_ps(w.sums + t * w.v_width + i), sum));
    }
  }
}

template <typename Words, typename Lines>
void run(const ExpandedAttentionParams& p) {
  const Work w = lay_out<Words>(p);
  start<Words>(p, w);
  const int64_t num_keys = p.first_position + p.num_tokens;
  for (int64_t first = 0; first < num_keys; first += kKeyBlock) {
    const int64_t count = num_keys - first < kKeyBlock ? num_keys - first : kKeyBlock;
    expand_block<Words, Lines>(p, w, first, count);
    const int64_t first_token = first > p.first_position ? first - p.first_position : 0;
    for (int64_t t = first_token / kRowTile * kRowTile; t < p.num_tokens; t += kRowTile) {
      const int64_t last = (t + kRowTile < p.num_tokens ? t + kRowTile : p.num_tokens) - 1;
      const int64_t last_visible = p.first_position + last + 1 - first;
      const int64_t keys = last_visible < count ? last_visible : count;
      make_scores<Words>(w, t, keys, p.scale);
      const __m512 rescale = make_weights<Words>(w, t, p.first_position + t + 1 - first);
      add_values<Words>(w, t, keys, rescale);
    }
  }
  write_result(p, w);
}

}  // namespace

void expanded_attention(const ExpandedAttentionParams& p) {
  if (p.precision == AttentionPrecision::kBFloat16) return run<BFloat16Words, PlainLines>(p);
  switch (p.kv_b_format) {
    case PanelFormat::kBFloat16:
      return run<Float32Words, BFloat16Lines>(p);
    case PanelFormat::kFloat16:
      return run<Float32Words, Float16Lines>(p);
    default:
      return run<Float32Words, PlainLines>(p);
  }
}

}  // namespace fathom::kernels::avx512
