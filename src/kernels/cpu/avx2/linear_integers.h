// What linears with int8 and int4 weights share: exact sums of rows of bytes become values of tokens. Sums
// gives
//
//   template <int kRows> static void add(p, row, panel, IntegerSums<kRows>&)
//                                     adds the sums of rows [row, row + kRows) with one panel
#pragma once

#include "kernels/cpu/avx2/linear.h"

namespace fathom::kernels::avx2 {

// 12 of 16 registers for sums.
constexpr int kByteRows = 6;

template <int kRows>
struct IntegerSums {
  __m256i v[kRows][2];
};

static inline __m256 scaled(const LinearParams& p, __m256 sum, int64_t t, int64_t output) {
  const __m256 weighted = _mm256_mul_ps(sum, _mm256_loadu_ps(p.weight_scales + output));
  return _mm256_mul_ps(weighted, _mm256_set1_ps(p.x_scales[t]));
}

template <typename Sums, int kDigits>
struct IntegerFamily {
  static constexpr int kTokens = kByteRows / kDigits;
  static constexpr int64_t kTokenBytes = kDigits;

  template <int kCount>
  static void values(const LinearParams& p, int64_t t, int64_t panel, float (*out)[kPanelRows]) {
    constexpr int kRows = kDigits * kCount;
    IntegerSums<kRows> sums;
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) sums.v[m][0] = sums.v[m][1] = _mm256_setzero_si256();
    Sums::add(p, kDigits * t, panel, sums);
#pragma GCC unroll 8
    for (int m = 0; m < kCount; ++m) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        __m256 sum = _mm256_cvtepi32_ps(sums.v[kDigits * m][v]);
        if constexpr (kDigits == 2) {
          const __m256 low = _mm256_cvtepi32_ps(sums.v[2 * m + 1][v]);
          sum = _mm256_fmadd_ps(sum, _mm256_set1_ps(kDigitBase), low);
        }
        _mm256_store_ps(out[m] + v * kLanes, scaled(p, sum, t + m, panel * kPanelRows + v * kLanes));
      }
    }
  }
};

template <typename Sums>
static void linear_integers(const LinearParams& p) {
  if (p.form == InputForm::kInt8Pair) return linear<IntegerFamily<Sums, 2>>(p);
  linear<IntegerFamily<Sums, 1>>(p);
}

}  // namespace fathom::kernels::avx2
