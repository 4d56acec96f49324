#include "kernels/cpu/avx2/kernels.h"
#include "kernels/cpu/avx2/linear.h"

namespace fathom::kernels::avx2 {
namespace {

constexpr int kByteRows = 4;

// sums[m][j] += sum over the inputs g of a line of x[m, g] w[j, g], for 8 outputs. vpmaddubsw multiplies
// unsigned by signed bytes: |w| by x with w's sign. Two products together are at most 2 * 128 * 127 = 32512,
// so its 16 bits never saturate.
inline __m256i add_products(__m256i sum, __m256i x, __m256i w, __m256i magnitude) {
  const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, w));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// The exact sums of kRows rows of bytes with one panel. Per line and row: 2 sign changes, 4 multiplies, 2
// additions for 64 products; the two multipliers of a core are the bound, 2 cycles.
template <int kRows>
inline void byte_sums(const LinearParams& p, int64_t row, int64_t panel, __m256i (&sums)[kRows][2]) {
  const auto* line = static_cast<const uint8_t*>(p.panels) + panel * panel_bytes(p.num_inputs, p.format);
  const uint8_t* rows[kRows];
#pragma GCC unroll 4
  for (int m = 0; m < kRows; ++m) {
    rows[m] = static_cast<const uint8_t*>(p.x) + (row + m) * p.x_stride;
    sums[m][0] = sums[m][1] = _mm256_setzero_si256();
  }
  const int64_t inputs = p.num_inputs;
  for (int64_t k = 0; k < inputs; k += 4) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line) + 1);
    const __m256i low_magnitude = _mm256_abs_epi8(low);
    const __m256i high_magnitude = _mm256_abs_epi8(high);
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) {
      int32_t four;
      memcpy(&four, rows[m] + k, sizeof(four));
      const __m256i x = _mm256_set1_epi32(four);
      sums[m][0] = add_products(sums[m][0], x, low, low_magnitude);
      sums[m][1] = add_products(sums[m][1], x, high, high_magnitude);
    }
    line += kLineBytes;
  }
}

inline __m256 scaled(const LinearParams& p, __m256 sum, int64_t t, int64_t output) {
  const __m256 weighted = _mm256_mul_ps(sum, _mm256_loadu_ps(p.weight_scales + output));
  return _mm256_mul_ps(weighted, _mm256_set1_ps(p.x_scales[t]));
}

struct Int8Family {
  static constexpr int kTokens = kByteRows;
  static constexpr int64_t kTokenBytes = 1;

  template <int kCount>
  static void values(const LinearParams& p, int64_t t, int64_t panel, float (*out)[kPanelRows]) {
    __m256i sums[kCount][2];
    byte_sums<kCount>(p, t, panel, sums);
#pragma GCC unroll 4
    for (int m = 0; m < kCount; ++m) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const __m256 sum = _mm256_cvtepi32_ps(sums[m][v]);
        _mm256_store_ps(out[m] + v * kLanes, scaled(p, sum, t + m, panel * kPanelRows + v * kLanes));
      }
    }
  }
};

struct Int8PairFamily {
  static constexpr int kTokens = kByteRows / 2;
  static constexpr int64_t kTokenBytes = 2;

  template <int kCount>
  static void values(const LinearParams& p, int64_t t, int64_t panel, float (*out)[kPanelRows]) {
    __m256i sums[2 * kCount][2];
    byte_sums<2 * kCount>(p, 2 * t, panel, sums);
#pragma GCC unroll 4
    for (int m = 0; m < kCount; ++m) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const __m256 high = _mm256_cvtepi32_ps(sums[2 * m][v]);
        const __m256 low = _mm256_cvtepi32_ps(sums[2 * m + 1][v]);
        const __m256 sum = _mm256_fmadd_ps(high, _mm256_set1_ps(kDigitBase), low);
        _mm256_store_ps(out[m] + v * kLanes, scaled(p, sum, t + m, panel * kPanelRows + v * kLanes));
      }
    }
  }
};

}  // namespace

void linear_int8(const LinearParams& p) {
  if (p.form == InputForm::kInt8Pair) return linear<Int8PairFamily>(p);
  linear<Int8Family>(p);
}

}  // namespace fathom::kernels::avx2
