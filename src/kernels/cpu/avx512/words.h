// Products of words. A word is 32 bits of consecutive factors, one float32 or two bf16: what a lane takes in
// one step. Every product of attention is then the same loop in both precisions:
//
//   sums[row][lane] += word k of the row (broadcast) * word k of the lane (line k, 16 words)
//
// which is also how packed.h lays weights out. Rows and lines are addressed in bytes.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/params.h"

namespace fathom::kernels::avx512 {

inline constexpr int64_t kWordBytes = 4;
inline constexpr int64_t kLanes = 16;

// The first count lanes of 16, count >= 0.
static inline __mmask16 lanes16(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1u);
}

// The first count lanes of 32.
static inline __mmask32 lanes32(int64_t count) {
  return count >= 32 ? 0xffffffffu : (__mmask32{1} << count) - 1u;
}

static inline __m512i broadcast_word(const void* word) {
  int32_t value;
  memcpy(&value, word, sizeof(value));
  return _mm512_set1_epi32(value);
}

// One float32 a word.
struct Float32Words {
  static constexpr int64_t kElements = 1;

  static __m512 multiply(__m512 sum, __m512i a, __m512i b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
  }
  // 16 floats, in order, as 16 words.
  static void store(void* words, __m512 values) { _mm512_storeu_ps(words, values); }
  // The first count of them; nothing behind them is written.
  static void store_first(void* words, __m512 values, int64_t count) {
    _mm512_mask_storeu_ps(words, lanes16(count), values);
  }
};

// Two bf16 a word, the first in the low half. vdpbf16ps adds both products to the float32 sum; it takes
// subnormal factors and results as zeros.
struct BFloat16Words {
  static constexpr int64_t kElements = 2;

  static __m512 multiply(__m512 sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
  // 16 floats rounded to nearest, ties to even, in order, as 8 words.
  static void store(void* words, __m512 values) {
    _mm256_storeu_si256(static_cast<__m256i*>(words), (__m256i)_mm512_cvtneps_pbh(values));
  }
  // The first count of them. An odd count is filled up by values[count], which should be 0.
  static void store_first(void* words, __m512 values, int64_t count) {
    _mm256_mask_storeu_epi16(words, lanes16(count + (count & 1)), (__m256i)_mm512_cvtneps_pbh(values));
  }
  // 16 words of (low, high).
  static __m512i pair(__m512 low, __m512 high) {
    const __m512i low_bits = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(low));
    const __m512i high_bits = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(high));
    return _mm512_or_si512(low_bits, _mm512_slli_epi32(high_bits, 16));
  }
};

template <typename Words>
static inline int64_t words_of(int64_t elements) {
  return (elements + Words::kElements - 1) / Words::kElements;
}

// Lines as they are: one step a line.
struct PlainLines {
  static constexpr int kSteps = 1;
  static void load(const uint8_t* line, __m512i (&words)[kSteps]) { words[0] = _mm512_loadu_si512(line); }
};

// Lines of packed 16-bit weights for float32 products: two steps a line.
struct BFloat16Lines {
  static constexpr int kSteps = 2;
  static void load(const uint8_t* line, __m512i (&words)[kSteps]) {
    const __m512i pairs = _mm512_loadu_si512(line);
    words[0] = _mm512_slli_epi32(pairs, 16);
    words[1] = _mm512_and_si512(pairs, _mm512_set1_epi32(-65536));
  }
};

struct Float16Lines {
  static constexpr int kSteps = 2;
  static void load(const uint8_t* line, __m512i (&words)[kSteps]) {
    const __m512i pairs = _mm512_loadu_si512(line);
    words[0] = _mm512_castps_si512(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs)));
    words[1] = _mm512_castps_si512(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16))));
  }
};

// sums[r][i] += rows[r] * panel i over num_lines lines; panel i begins at lines + i * panel_bytes. Eight rows
// and one or two panels: 8 or 16 sums hide the latency of 6 cycles, and a step's line loads and broadcasts
// take less than half of what the load ports give.
template <typename Words, typename Lines, int kRows, int kPanels>
static inline __attribute__((always_inline)) void multiply_add(const uint8_t* const (&rows)[kRows],
                                                               const uint8_t* lines, int64_t panel_bytes,
                                                               int64_t num_lines,
                                                               __m512 (&sums)[kRows][kPanels]) {
  constexpr int kSteps = Lines::kSteps;
  for (int64_t line = 0; line < num_lines; ++line) {
    __m512i words[kPanels][kSteps];
#pragma GCC unroll 4
    for (int i = 0; i < kPanels; ++i) Lines::load(lines + i * panel_bytes + line * kLineBytes, words[i]);
#pragma GCC unroll 2
    for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const __m512i word = broadcast_word(rows[r] + (line * kSteps + step) * kWordBytes);
#pragma GCC unroll 4
        for (int i = 0; i < kPanels; ++i) sums[r][i] = Words::multiply(sums[r][i], words[i][step], word);
      }
    }
  }
}

template <int kRows, int kPanels>
static inline __attribute__((always_inline)) void clear(__m512 (&sums)[kRows][kPanels]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kPanels; ++i) sums[r][i] = _mm512_setzero_ps();
  }
}

// Writes 16 elements at a time, load(i, lanes) giving those from element i on, as words_of(count) words.
template <typename Words, typename Load>
static inline __attribute__((always_inline)) void store_words(int64_t count, const Load& load,
                                                              uint8_t* words) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes, words += kLanes / Words::kElements * kWordBytes) {
    Words::store(words, load(i, __mmask16{0xffff}));
  }
  if (i < count) Words::store_first(words, load(i, lanes16(count - i)), count - i);
}

// Writes count floats as words.
template <typename Words>
static inline void pack_words(const float* values, int64_t count, uint8_t* words) {
  store_words<Words>(
      count, [&](int64_t i, __mmask16 lanes) { return _mm512_maskz_loadu_ps(lanes, values + i); }, words);
}

// 16 rows of 16 words: lines[k] word r = rows[r] word k. In four rounds, each exchanging halves of twice the
// size.
static inline void transpose(__m512i (&rows)[16]) {
  __m512i other[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    other[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    other[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(other[i], other[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(other[i], other[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(other[i + 1], other[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(other[i + 1], other[i + 3]);
  }
  // rows[4 g + c] holds, in 128-bit lane l, word 4 l + c of rows 4 g .. 4 g + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i even_low = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0xdd);
    const __m512i even_high = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0x88);
    const __m512i odd_high = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0xdd);
    other[c] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
    other[8 + c] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
    other[4 + c] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
    other[12 + c] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) rows[i] = other[i];
}

// Puts 16 rows of num_words words, row_bytes apart, into num_words lines of one panel.
static inline void to_panel(const uint8_t* rows, int64_t row_bytes, int64_t num_words, uint8_t* lines) {
  for (int64_t k = 0; k < num_words; k += kLanes) {
    const int64_t count = num_words - k < kLanes ? num_words - k : kLanes;
    __m512i words[16];
#pragma GCC unroll 16
    for (int64_t r = 0; r < 16; ++r) {
      words[r] = _mm512_maskz_loadu_epi32(lanes16(count), rows + r * row_bytes + k * kWordBytes);
    }
    transpose(words);
    for (int64_t i = 0; i < count; ++i) _mm512_storeu_si512(lines + (k + i) * kLineBytes, words[i]);
  }
}

}  // namespace fathom::kernels::avx512
