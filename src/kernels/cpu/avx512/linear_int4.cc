// Products with int4 weights.
//
// Few rows multiply the nibbles as they stream in. A group of 32 inputs has the sum of (u - 8) x, u = q + 8
// from vpdpbusd with u as its unsigned side, which begins at -8 times the sum of x. It lies within 32 * 8 *
// 127 < 2^15, so that one vpdpwssd by the factors, zeros in their upper halves, adds factor * sum to the
// row's sum. Instructions for the 272 bytes of a group: 17 to load, unpack and widen, 10 a row. On a Zen 4 a
// core takes one row's 59 GB/s from its second-level cache and 97 % of what it can read from memory (91 %
// with 10944 inputs; 2026-11-24).
//
// More rows: four panels at a time are expanded to int8 in the second-level cache, which costs as much as two
// rows of products; the products prefetch the nibbles of the next four.
#include "kernels/cpu/avx512/expand_int4.h"
#include "kernels/cpu/avx512/int8_product.h"
#include "kernels/cpu/avx512/kernels.h"

namespace fathom::kernels::avx512 {
namespace {

// Rows up to which the processor's window reaches far enough ahead in the stream.
constexpr int kRowsInReach = 4;
// Bytes of inputs from which a panel's stream leaves little of them in a first-level cache of 32 KB. On a Zen
// 4, one core that reads 34 GB/s, one row of 10944 (12 KB) went from 29 to 31 GB/s with two panels side by
// side, two rows from 21 to 27; one row of 5120 lost 8 %, one of 2048 fell from 33 to 20 (2026-11-24).
constexpr int64_t kWideBytes = 10 << 10;
static_assert(kPanelTile <= kExpandedPanels);

// One row's inputs of a superblock without their zero point.
struct InputBlock {
  int32_t starts[kSuperblockInputs / kInt4GroupInputs];  // -8 times the sum of each group
  int8_t x[kSuperblockInputs];
};

int64_t num_blocks(const LinearParams& p) {
  return padded_inputs(p.num_inputs, PanelFormat::kInt4) / kSuperblockInputs;
}

// -8 times the sums of 4 groups of 32 bytes.
__m128i group_starts(__m512i first, __m512i second) {
  const __m512i eights = _mm512_set1_epi8(8);
  const __m512i a = _mm512_dpbusd_epi32(_mm512_setzero_si512(), eights, first);
  const __m512i b = _mm512_dpbusd_epi32(_mm512_setzero_si512(), eights, second);
  // Lanes of 128 bits: a a b b, of which the lower two belong to the first group of a and of b.
  __m512i sums = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32(sums, _MM_PERM_CDAB));
  sums = _mm512_add_epi32(sums, _mm512_shuffle_i32x4(sums, sums, 0xb1));
  const __m128i all = _mm_blend_epi32(_mm512_castsi512_si128(sums), _mm512_extracti32x4_epi32(sums, 2), 0xa);
  return _mm_sub_epi32(_mm_setzero_si128(), all);
}

// Rows of num_blocks() blocks.
void write_blocks(const LinearParams& p, int64_t num_rows, InputBlock* blocks) {
  const int64_t padded = padded_inputs(p.num_inputs, PanelFormat::kInt8);
  const __m512i zero_point = _mm512_set1_epi8(static_cast<char>(p.int8_zero_point));
  for (int64_t row = 0; row < num_rows; ++row) {
    const auto* x = static_cast<const uint8_t*>(p.x) + row * p.x_stride;
    for (int64_t k = 0; k < padded; k += kSuperblockInputs, ++blocks) {
      const __m512i first = _mm512_sub_epi8(_mm512_loadu_si512(x + k), zero_point);
      const __m512i second = k + 64 < padded ? _mm512_sub_epi8(_mm512_loadu_si512(x + k + 64), zero_point)
                                             : _mm512_setzero_si512();
      _mm_storeu_si128(reinterpret_cast<__m128i*>(blocks->starts), group_starts(first, second));
      _mm512_storeu_si512(blocks->x, first);
      _mm512_storeu_si512(blocks->x + 64, second);
    }
  }
}

__m512i broadcast(const void* x) { return _mm512_set1_epi32(*static_cast<const int32_t*>(x)); }

template <int kDigits>
struct NibbleStream {
  static constexpr int kRowsOfToken = kDigits;
  const InputBlock* blocks;  // by row

  template <typename Processor, int kRows>
  void rows(const LinearParams& p, int64_t row, int64_t panel, __m512* values) const {
    panels<kRows, 1>(p, row, panel, values);
  }

  // The outputs of rows [row, row + kRows) in kPanels panels side by side, by panel and token.
  template <int kRows, int kPanels>
  void panels(const LinearParams& p, int64_t row, int64_t panel, __m512* values) const {
    const int64_t count = num_blocks(p);
    const int64_t bytes = count * kSuperblockBytes;
    const InputBlock* x = blocks + row * count;
    const uint8_t* lines = static_cast<const uint8_t*>(p.panels) + panel * bytes;
    __m512i sums[kPanels][kRows];
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) {
      // Apart from the stream of lines: asked for only at the end, they would hold it up.
      _mm_prefetch(p.weight_scales + (panel + i) * kPanelRows, _MM_HINT_T0);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) sums[i][m] = _mm512_setzero_si512();
    }
    for (int64_t block = 0; block < count; ++block, ++x, lines += kSuperblockBytes) {
#pragma GCC unroll 2
      for (int i = 0; i < kPanels; ++i) add_block<kRows>(lines + i * bytes, x, count, sums[i]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m += kDigits) {
        *values++ = scale_sums<kDigits>(p, (row + m) / kDigits, panel + i, _mm512_cvtepi32_ps(sums[i][m]),
                                        _mm512_cvtepi32_ps(sums[i][m + kDigits - 1]));
      }
    }
  }

  // x: the block of the first row, x + stride of the next.
  template <int kRows>
  static inline __attribute__((always_inline)) void add_block(const uint8_t* lines, const InputBlock* x,
                                                              int64_t stride, __m512i (&sums)[kRows]) {
    const __m512i low_nibbles = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int64_t g = 0; g < kSuperblockInputs / kInt4GroupInputs; ++g) {
      __m512i group[kRows];
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) group[m] = broadcast(&x[m * stride].starts[g]);
#pragma GCC unroll 4
      for (int64_t l = 4 * g; l < 4 * g + 4; ++l) {
        if constexpr (kRows > kRowsInReach)
          _mm_prefetch(lines + (1 + l) * kLineBytes + kPrefetchBytes, _MM_HINT_T0);
        const __m512i pair = _mm512_loadu_si512(lines + (1 + l) * kLineBytes);
        const __m512i low = _mm512_and_si512(pair, low_nibbles);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(pair, 4), low_nibbles);
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m) {
          group[m] = _mm512_dpbusd_epi32(group[m], low, broadcast(x[m * stride].x + 8 * l));
          group[m] = _mm512_dpbusd_epi32(group[m], high, broadcast(x[m * stride].x + 8 * l + 4));
        }
      }
      const __m512i factors =
          _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lines + g * kPanelRows)));
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) sums[m] = _mm512_dpwssd_epi32(sums[m], group[m], factors);
    }
  }
};

// One or two rows so wide that the stream of one panel drives them from the first-level cache: two panels
// share them on their way in.
template <int kDigits, int kRows>
void stream_wide_rows(const LinearParams& p, const InputBlock* blocks) {
  constexpr int kTokens = kRows / kDigits;
  const NibbleStream<kDigits> stream{blocks};
  int64_t panel = p.begin;
  for (; panel + 2 <= p.end; panel += 2) {
    __m512 values[2 * kTokens];
    stream.template panels<kRows, 2>(p, 0, panel, values);
    for (int t = 0; t < kTokens; ++t) {
      const __m512 both[2] = {values[t], values[kTokens + t]};
      put_panels(p, t, panel, both);
    }
  }
  if (panel == p.end) return;
  LinearParams last = p;
  last.begin = panel;
  stream_panels(stream, last);
}

template <int kDigits>
void multiply_nibbles(const LinearParams& p, int64_t num_rows, const InputBlock* blocks) {
  const int64_t bytes = num_rows * num_blocks(p) * static_cast<int64_t>(sizeof(InputBlock));
  if (num_rows > 2 || bytes < kWideBytes) return stream_panels(NibbleStream<kDigits>{blocks}, p);
  if constexpr (kDigits == 1) {
    if (num_rows == 1) return stream_wide_rows<1, 1>(p, blocks);
  }
  stream_wide_rows<kDigits, 2>(p, blocks);
}

// More than kStreamRows rows.
template <int kDigits>
void multiply_expanded(const LinearParams& p) {
  const int64_t bytes = num_blocks(p) * kSuperblockBytes;
  for (int64_t panel = p.begin; panel < p.end; panel += kPanelTile) {
    const int64_t end = panel + kPanelTile < p.end ? panel + kPanelTile : p.end;
    const Ahead nibbles{static_cast<const char*>(p.panels) + end * bytes, kPanelTile * bytes};
    tile_panels<Int8Product<kDigits>>(expand_panels(p, panel, end), nibbles);
  }
}

}  // namespace

void linear_int4(const LinearParams& p) {
  const int64_t num_rows = p.num_tokens * rows_per_token(p.form);
  if (num_rows > kStreamRows) {
    return p.form == InputForm::kInt8 ? multiply_expanded<1>(p) : multiply_expanded<2>(p);
  }
  auto* blocks = static_cast<InputBlock*>(p.scratch);
  write_blocks(p, num_rows, blocks);
  if (p.form == InputForm::kInt8) {
    multiply_nibbles<1>(p, num_rows, blocks);
  } else {
    multiply_nibbles<2>(p, num_rows, blocks);
  }
}

}  // namespace fathom::kernels::avx512
