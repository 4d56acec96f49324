// The one product that linears and attention share: a few rows against 16 outputs, whose weights (or keys, or
// values) lie side by side in lines.
//
//   sums[m][.] += x[m, i] * line_i[.]      i ascending, one accumulator an output: 2 registers a row
//
// Six rows use 12 accumulators, 2 weights and 1 input of 16 registers: 12 multiply-adds for 6 broadcasts. A
// sum has the same bits in every tile.
#pragma once

#include "kernels/cpu/avx2/vector.h"

namespace fathom::kernels::avx2 {

constexpr int kTileRows = 6;

// Lines: what a line of 16 outputs holds. load<g> gives input g of the line as two registers whose lanes are
// outputs, for put_in_order() to sort.
struct Float32Lines {
  static constexpr int kInputs = 1;
  template <int kInput>
  static void load(const uint8_t* line, __m256& low, __m256& high) {
    low = _mm256_loadu_ps(reinterpret_cast<const float*>(line));
    high = _mm256_loadu_ps(reinterpret_cast<const float*>(line) + kLanes);
  }
  static void put_in_order(__m256&, __m256&) {}
};

struct BFloat16Lines {
  static constexpr int kInputs = 2;
  template <int kInput>
  static void load(const uint8_t* line, __m256& low, __m256& high) {
    low = decode<kInput>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(line)));
    high = decode<kInput>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(line) + 1));
  }
  template <int kInput>
  static __m256 decode(__m256i pairs) {
    if constexpr (kInput == 0) return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static void put_in_order(__m256&, __m256&) {}
};

// The wanted halves of outputs [0, 8) and [8, 16) are packed before they become floats, which on two 128-bit
// halves of a register gives outputs [0-3 8-11] and [4-7 12-15]. (Shuffling floats afterwards takes one
// operation less, but keeps four registers that the sums need.)
struct Float16Lines {
  static constexpr int kInputs = 2;
  template <int kInput>
  static void load(const uint8_t* line, __m256& low, __m256& high) {
    const __m256i halves = _mm256_packus_epi32(wanted<kInput>(line), wanted<kInput>(line + 32));
    low = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
    high = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
  }
  template <int kInput>
  static __m256i wanted(const uint8_t* half_line) {
    const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(half_line));
    return kInput == 0 ? _mm256_blend_epi16(pairs, _mm256_setzero_si256(), 0xaa)
                       : _mm256_srli_epi32(pairs, 16);
  }
  static void put_in_order(__m256& low, __m256& high) {
    const __m256 first = _mm256_permute2f128_ps(low, high, 0x20);
    high = _mm256_permute2f128_ps(low, high, 0x31);
    low = first;
  }
};

// Strides of x in floats: row_stride between its rows, input_stride between a row's inputs.
struct TileInputs {
  const float* x;
  int64_t row_stride;
  int64_t input_stride;
};

template <int kRows, int kVectors>
struct TileSums {
  __m256 v[kRows][kVectors];
};

template <typename Lines, int kInput, int kRows, int kVectors>
static inline __attribute__((always_inline)) void add_input(const float* const* rows, int64_t offset,
                                                            const uint8_t* line,
                                                            TileSums<kRows, kVectors>& sums) {
  __m256 weights[2];
  Lines::template load<kInput>(line, weights[0], weights[1]);
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    const __m256 x = _mm256_broadcast_ss(rows[m] + offset);
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      // Not the intrinsic, by which the compiler may choose another register than the sum's own to be the
      // result: it then keeps a sum in memory, and the way there and back takes longer than the line.
      __m256 sum = sums.v[m][v];
      asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(weights[v]));
      sums.v[m][v] = sum;
    }
  }
}

// Adds num_lines lines, line_bytes apart. kVectors is 2, or 1 where only the first 8 outputs are wanted.
template <typename Lines, int kRows, int kVectors>
static inline __attribute__((always_inline)) void multiply(const TileInputs& in, const uint8_t* line,
                                                           int64_t line_bytes, int64_t num_lines,
                                                           TileSums<kRows, kVectors>& sums) {
  const float* rows[kRows];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) rows[m] = in.x + m * in.row_stride;
  int64_t offset = 0;
  for (int64_t i = 0; i < num_lines; ++i) {
    add_input<Lines, 0>(rows, offset, line, sums);
    offset += in.input_stride;
    if constexpr (Lines::kInputs == 2) {
      add_input<Lines, 1>(rows, offset, line, sums);
      offset += in.input_stride;
    }
    line += line_bytes;
  }
}

template <int kRows, int kVectors>
static inline void clear(TileSums<kRows, kVectors>& sums) {
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sums.v[m][v] = _mm256_setzero_ps();
  }
}

// Rows of the next tile where `left` rows remain: as few tiles as can be, of sizes that differ by at most
// one.
static inline int64_t next_tile_rows(int64_t left, int64_t most) {
  const int64_t tiles = (left + most - 1) / most;
  return (left + tiles - 1) / tiles;
}

template <int kCount>
struct Count {
  static constexpr int value = kCount;
};

// function(Count<rows>{}) for rows in 1..kMost, so that the number is a constant inside.
template <int kMost, typename Function>
static inline void with_count(int64_t rows, const Function& function) {
  if constexpr (kMost > 1) {
    if (rows < kMost) return with_count<kMost - 1>(rows, function);
  }
  function(Count<kMost>{});
}

}  // namespace fathom::kernels::avx2
