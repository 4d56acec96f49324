// Absorbed attention: blocks of kKeyBlock keys; within a block, groups of sixteen heads.
//
//   scores   [key][16 heads]              lanes are heads: a line of packed queries, a word of eight keys
//   weights  [key words][16 heads] words  of the same lanes
//   sums     [tile of 32 latents][16 heads][32 latents]
//            lanes are latents: two rows of the cache interleaved in registers, a word of eight heads
//
// A head is a lane or a row of its own everywhere, so its bits depend on no other head.
#include "kernels/cpu/avx512/attention.h"
#include "kernels/cpu/avx512/cache_rows.h"
#include "kernels/cpu/avx512/exp.h"

namespace fathom::kernels::avx512 {
namespace {

constexpr int64_t kLatentTile = 32;
constexpr int kRowTile = 8;
constexpr float kMinusInfinity = -__builtin_inff();

// Rows of the cache, one block at most, and how far they have been asked into the L2 cache: two lines a step
// of the weighted sum before, so that memory works while products are taken.
// R = 512, 16 heads, cache in memory, on a Zen 4: 55 us a split of 256 keys, 67 without.
struct CacheRows {
  const uint8_t* rows[kKeyBlock];
  int64_t count = 0;
  int64_t row_bytes = 0;
  int64_t row = 0;
  int64_t offset = 0;

  void prefetch_line() {
    if (row >= count) return;
    _mm_prefetch(reinterpret_cast<const char*>(rows[row] + offset), _MM_HINT_T1);
    offset += kLineBytes;
    if (offset >= row_bytes) {
      offset = 0;
      ++row;
    }
  }
};

// Keys of one block: rows of words and what multiplies their latents. Entries behind the last key repeat it.
struct Block {
  const uint8_t* rows[kKeyBlock];
  float scales[kKeyBlock];
  int64_t count;
};

// Where things lie in scratch, and sizes.
struct Work {
  int64_t latent_words, row_words, num_tiles;
  uint8_t* q;        // [groups][row_words][16] words
  float* sums;       // [groups][num_tiles][16][32]
  uint8_t* rows;     // [kKeyBlock][row_words] words
  float* scores;     // [kKeyBlock][16]
  uint8_t* weights;  // [kKeyBlock / kElements][16] words
  float* max;        // [groups][16]
  float* sum;        // [groups][16]

  uint8_t* group_q(int64_t group) const { return q + group * row_words * kLineBytes; }
  float* group_sums(int64_t group) const { return sums + group * num_tiles * kLanes * kLatentTile; }
};

template <typename Words>
Work lay_out(const AbsorbedAttentionParams& p) {
  const int64_t heads = round_up(p.num_heads, kLanes);
  Work w;
  w.latent_words = words_of<Words>(p.cache.latent_dim);
  w.row_words = w.latent_words + words_of<Words>(p.cache.rope_dim);
  w.num_tiles = (p.cache.latent_dim + kLatentTile - 1) / kLatentTile;
  w.q = static_cast<uint8_t*>(p.scratch);
  w.sums = reinterpret_cast<float*>(w.q + heads * w.row_words * kWordBytes);
  w.rows = reinterpret_cast<uint8_t*>(w.sums + heads * w.num_tiles * kLatentTile);
  w.scores = reinterpret_cast<float*>(w.rows + kKeyBlock * w.row_words * kWordBytes);
  w.weights = reinterpret_cast<uint8_t*>(w.scores + kKeyBlock * kLanes);
  w.max = reinterpret_cast<float*>(w.weights + kKeyBlock * kLineBytes);
  w.sum = w.max + heads;
  return w;
}

// Queries of every group as lines; lanes without a head are zeros.
template <typename Words>
void pack_queries(const AbsorbedAttentionParams& p, const Work& w) {
  const int64_t row_bytes = w.row_words * kWordBytes;
  for (int64_t h = 0; h < p.num_heads; h += kLanes) {
    memset(w.rows, 0, static_cast<size_t>(kLanes * row_bytes));
    for (int64_t i = 0; i < kLanes && h + i < p.num_heads; ++i) {
      const float* q = p.q + (h + i) * p.q_stride;
      uint8_t* row = w.rows + i * row_bytes;
      pack_words<Words>(q, p.cache.latent_dim, row);
      pack_words<Words>(q + p.cache.latent_dim, p.cache.rope_dim, row + w.latent_words * kWordBytes);
    }
    to_panel(w.rows, row_bytes, w.row_words, w.group_q(h / kLanes));
  }
}

// Rows are used where they lie if they are made of whole words already.
template <typename Words>
bool are_words(const LatentCacheView& cache) {
  const DType dtype = Words::kElements == 2 ? DType::kBFloat16 : DType::kFloat32;
  return cache.dtype == dtype && cache.latent_dim % Words::kElements == 0 &&
         cache.rope_dim % Words::kElements == 0;
}

// The rows of the block at position `first`; none behind the last key.
CacheRows find_rows(const AbsorbedAttentionParams& p, int64_t first) {
  CacheRows found;
  found.row_bytes = latent_row_bytes(p.cache.dtype, p.cache.latent_dim, p.cache.rope_dim);
  for (int64_t s = first; s < p.key_end && s < first + kKeyBlock; ++s) {
    found.rows[found.count++] = cache_row(p.cache, p.page_table, s);
  }
  return found;
}

template <typename Words>
void make_block(const AbsorbedAttentionParams& p, const Work& w, const CacheRows& found, Block& block) {
  block.count = found.count;
  for (int64_t s = 0; s < block.count; ++s) {
    const uint8_t* row = found.rows[s];
    block.rows[s] = row;
    block.scales[s] = row_scale(p.cache, row);
    if (are_words<Words>(p.cache)) continue;
    uint8_t* words = w.rows + s * w.row_words * kWordBytes;
    decode_latent<Words>(p.cache, row, words);
    decode_rope<Words>(p.cache, row, words + w.latent_words * kWordBytes);
    block.rows[s] = words;
  }
  for (int64_t s = block.count; s < kKeyBlock; ++s) {
    block.rows[s] = block.rows[block.count - 1];
    block.scales[s] = block.scales[block.count - 1];
  }
}

template <typename Words>
void make_scores(const Work& w, const Block& block, const uint8_t* q, float scale) {
  const int64_t rope_begin = w.latent_words * kWordBytes;
  for (int64_t s = 0; s < block.count; s += kRowTile) {
    const uint8_t* rows[kRowTile];
    __m512 sums[kRowTile][1];
    clear(sums);
#pragma GCC unroll 8
    for (int i = 0; i < kRowTile; ++i) rows[i] = block.rows[s + i];
    multiply_add<Words, PlainLines>(rows, q, 0, w.latent_words, sums);
#pragma GCC unroll 8
    for (int i = 0; i < kRowTile; ++i) {
      sums[i][0] = _mm512_mul_ps(sums[i][0], _mm512_set1_ps(block.scales[s + i]));
      rows[i] += rope_begin;
    }
    multiply_add<Words, PlainLines>(rows, q + w.latent_words * kLineBytes, 0, w.row_words - w.latent_words,
                                    sums);
#pragma GCC unroll 8
    for (int i = 0; i < kRowTile; ++i) {
      _mm512_store_ps(w.scores + (s + i) * kLanes, _mm512_mul_ps(sums[i][0], _mm512_set1_ps(scale)));
    }
  }
}

// The block's scores of one group join its running softmax. Writes the weights, each times its row's scale;
// the sum takes them before that and unrounded. Gives what the earlier sums must be multiplied by.
template <typename Words>
__m512 make_weights(const Work& w, const Block& block, int64_t group) {
  const __m512 old_max = _mm512_load_ps(w.max + group * kLanes);
  __m512 max = old_max;
  for (int64_t s = 0; s < block.count; ++s) max = _mm512_max_ps(max, _mm512_load_ps(w.scores + s * kLanes));
  __m512 sum = _mm512_setzero_ps();
  const auto weight = [&](int64_t s) {
    if (s >= block.count) return _mm512_setzero_ps();
    const __m512 value = weight_lanes(_mm512_sub_ps(_mm512_load_ps(w.scores + s * kLanes), max));
    sum = _mm512_add_ps(sum, value);
    return _mm512_mul_ps(value, _mm512_set1_ps(block.scales[s]));
  };
  for (int64_t s = 0; s < block.count; s += Words::kElements) {
    const __m512 first = weight(s);
    __m512i words = _mm512_castps_si512(first);
    if constexpr (Words::kElements == 2) words = Words::pair(first, weight(s + 1));
    _mm512_store_si512(w.weights + s / Words::kElements * kLineBytes, words);
  }
  const __m512 rescale = weight_lanes(_mm512_sub_ps(old_max, max));
  const __m512 old_sum = _mm512_load_ps(w.sum + group * kLanes);
  _mm512_store_ps(w.max + group * kLanes, max);
  _mm512_store_ps(w.sum + group * kLanes, _mm512_fmadd_ps(old_sum, rescale, sum));
  return rescale;
}

// One line of latents [32 * tile, + 16) and one of the next 16, the words of key word k. count latents exist.
static inline void load_latents(const Block& block, BFloat16Words, int64_t k, int64_t tile, int64_t count,
                                __m512i (&lines)[2]) {
  // (i, 32 + i): latent i of the first row, then of the second.
  const __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i order =
      _mm512_or_si512(index, _mm512_slli_epi32(_mm512_add_epi32(index, _mm512_set1_epi32(32)), 16));
  const __mmask32 lanes = lanes32(count);
  const __m512i first = _mm512_maskz_loadu_epi16(lanes, block.rows[2 * k] + tile * kLineBytes);
  const __m512i second = _mm512_maskz_loadu_epi16(lanes, block.rows[2 * k + 1] + tile * kLineBytes);
  lines[0] = _mm512_permutex2var_epi16(first, order, second);
  lines[1] = _mm512_permutex2var_epi16(first, _mm512_add_epi16(order, _mm512_set1_epi32(0x00100010)), second);
}

static inline void load_latents(const Block& block, Float32Words, int64_t k, int64_t tile, int64_t count,
                                __m512i (&lines)[2]) {
  const uint8_t* row = block.rows[k] + tile * 2 * kLineBytes;
  lines[0] = _mm512_maskz_loadu_epi32(lanes16(count), row);
  lines[1] = _mm512_maskz_loadu_epi32(lanes16(count > kLanes ? count - kLanes : 0), row + kLineBytes);
}

// sums[h] = sums[h] * rescale[h] + weights[h] latents, for eight heads and 32 latents.
template <typename Words>
void add_tile(const Block& block, const uint8_t* weights, const float* rescale, int64_t tile, int64_t count,
              float* sums, CacheRows& next) {
  const int64_t num_words = words_of<Words>(block.count);
  __m512 acc[kRowTile][2];
  if (rescale == nullptr) {
    clear(acc);
  } else {
#pragma GCC unroll 8
    for (int h = 0; h < kRowTile; ++h) {
      const __m512 factor = _mm512_set1_ps(rescale[h]);
      acc[h][0] = _mm512_mul_ps(_mm512_load_ps(sums + h * kLatentTile), factor);
      acc[h][1] = _mm512_mul_ps(_mm512_load_ps(sums + h * kLatentTile + kLanes), factor);
    }
  }
  for (int64_t k = 0; k < num_words; ++k) {
    __m512i lines[2];
    load_latents(block, Words{}, k, tile, count, lines);
    next.prefetch_line();
    next.prefetch_line();
#pragma GCC unroll 8
    for (int h = 0; h < kRowTile; ++h) {
      const __m512i word = broadcast_word(weights + k * kLineBytes + h * kWordBytes);
      acc[h][0] = Words::multiply(acc[h][0], lines[0], word);
      acc[h][1] = Words::multiply(acc[h][1], lines[1], word);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < kRowTile; ++h) {
    _mm512_store_ps(sums + h * kLatentTile, acc[h][0]);
    _mm512_store_ps(sums + h * kLatentTile + kLanes, acc[h][1]);
  }
}

// rescale: [16], or null for the first block.
template <typename Words>
void add_values(const AbsorbedAttentionParams& p, const Work& w, const Block& block, const float* rescale,
                int64_t group, CacheRows& next) {
  const int64_t heads = p.num_heads - group * kLanes;
  for (int64_t tile = 0; tile < w.num_tiles; ++tile) {
    const int64_t count = p.cache.latent_dim - tile * kLatentTile;
    float* sums = w.group_sums(group) + tile * kLanes * kLatentTile;
    for (int64_t h = 0; h < kLanes && h < heads; h += kRowTile) {
      add_tile<Words>(block, w.weights + h * kWordBytes, rescale != nullptr ? rescale + h : nullptr, tile,
                      count, sums + h * kLatentTile, next);
    }
  }
}

void write_result(const AbsorbedAttentionParams& p, const Work& w) {
  const int64_t latent_dim = p.cache.latent_dim;
  for (int64_t h = 0; h < p.num_heads; ++h) {
    const float* sums = w.group_sums(h / kLanes) + h % kLanes * kLatentTile;
    float* out = p.out + h * latent_dim;
    for (int64_t i = 0; i < latent_dim; i += kLanes) {
      const float* tile = sums + i / kLatentTile * kLanes * kLatentTile + i % kLatentTile;
      _mm512_mask_storeu_ps(out + i, lanes16(latent_dim - i), _mm512_load_ps(tile));
    }
    p.max[h] = w.max[h];
    p.sum[h] = w.sum[h];
  }
}

template <typename Words>
void run(const AbsorbedAttentionParams& p) {
  const Work w = lay_out<Words>(p);
  CacheRows rows = find_rows(p, p.key_begin);
  pack_queries<Words>(p, w);
  const int64_t num_groups = (p.num_heads + kLanes - 1) / kLanes;
  for (int64_t i = 0; i < num_groups * kLanes; ++i) {
    w.max[i] = kMinusInfinity;
    w.sum[i] = 0;
  }
  Block block;
  for (int64_t first = p.key_begin; first < p.key_end; first += kKeyBlock) {
    make_block<Words>(p, w, rows, block);
    CacheRows next = find_rows(p, first + kKeyBlock);
    for (int64_t group = 0; group < num_groups; ++group) {
      make_scores<Words>(w, block, w.group_q(group), p.scale);
      alignas(64) float rescale[kLanes];
      _mm512_store_ps(rescale, make_weights<Words>(w, block, group));
      add_values<Words>(p, w, block, first == p.key_begin ? nullptr : rescale, group, next);
    }
    rows = next;
  }
  write_result(p, w);
}

}  // namespace

void absorbed_attention(const AbsorbedAttentionParams& p) {
  if (p.precision == AttentionPrecision::kBFloat16) {
    run<BFloat16Words>(p);
  } else {
    run<Float32Words>(p);
  }
}

void merge_splits(const MergeSplitsParams& p) {
  for (int64_t h = p.begin; h < p.end; ++h) {
    float max = p.max[h];
    for (int64_t s = 1; s < p.num_splits; ++s) {
      const float other = p.max[s * p.num_heads + h];
      max = other > max ? other : max;
    }
    float* y = p.y + h * p.latent_dim;
    __m512 sum = _mm512_setzero_ps();
    for (int64_t s = 0; s < p.num_splits; ++s) {
      const __m512 factor = weight_lanes(_mm512_set1_ps(p.max[s * p.num_heads + h] - max));
      sum = _mm512_fmadd_ps(factor, _mm512_set1_ps(p.sum[s * p.num_heads + h]), sum);
      const float* out = p.out + s * p.split_stride + h * p.latent_dim;
      for (int64_t i = 0; i < p.latent_dim; i += kLanes) {
        const __mmask16 lanes = lanes16(p.latent_dim - i);
        const __m512 before = s == 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(lanes, y + i);
        _mm512_mask_storeu_ps(y + i, lanes,
                              _mm512_fmadd_ps(factor, _mm512_maskz_loadu_ps(lanes, out + i), before));
      }
    }
    for (int64_t i = 0; i < p.latent_dim; i += kLanes) {
      const __mmask16 lanes = lanes16(p.latent_dim - i);
      _mm512_mask_storeu_ps(y + i, lanes, _mm512_div_ps(_mm512_maskz_loadu_ps(lanes, y + i), sum));
    }
  }
}

}  // namespace fathom::kernels::avx512
