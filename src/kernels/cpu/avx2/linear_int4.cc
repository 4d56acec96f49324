#include "kernels/cpu/avx2/kernels.h"
#include "kernels/cpu/avx2/linear_integers.h"

namespace fathom::kernels::avx2 {
namespace {

// Nibbles are multiplied as they are, for any number of rows. vpmaddubsw takes u = q + 8 as its unsigned
// side; with a start of -8 times the sum of x the 16-bit sums of a group of 32 inputs hold the sum of q x
// over 16 of them, within 16 * 8 * 127 < 2^15 (on the way there they may wrap, which takes nothing from the
// result), and vpmaddwd by the factor adds both halves to the int32 sum. Per 128 weights and row: 4
// multiplies and 4 additions, half of what int8 weights take, and 1 more of each for the group.

// In each lane -8 times the sums of inputs 0 and 1, and 2 and 3, of every four of a group.
inline __m256i group_start(const uint8_t* x) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  __m256i sums = _mm256_maddubs_epi16(_mm256_set1_epi8(8), bytes);
  sums = _mm256_add_epi16(sums, _mm256_permute2x128_si256(sums, sums, 1));
  sums = _mm256_add_epi16(sums, _mm256_shuffle_epi32(sums, 0x4e));
  sums = _mm256_add_epi16(sums, _mm256_shuffle_epi32(sums, 0xb1));
  return _mm256_sub_epi16(_mm256_setzero_si256(), sums);
}

inline __m256i broadcast(const uint8_t* x) {
  int32_t word;
  memcpy(&word, x, sizeof(word));
  return _mm256_set1_epi32(word);
}

// A group's factors for 8 outputs, each in both halves of its lane.
inline __m256i factor_words(const uint8_t* factors) {
  const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(factors)));
  return _mm256_or_si256(wide, _mm256_slli_epi32(wide, 16));
}

// Adds one group for outputs [8 half, 8 half + 8). x: the group's inputs of the first row, x + stride of the
// next.
template <int kRows>
inline __attribute__((always_inline)) void add_group(const uint8_t* lines, const uint8_t* factors, int half,
                                                     const uint8_t* x, int64_t stride,
                                                     const __m256i (&starts)[kRows],
                                                     IntegerSums<kRows>& sums) {
  const __m256i low_nibbles = _mm256_set1_epi8(15);
  __m256i group[kRows];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) group[m] = starts[m];
#pragma GCC unroll 4
  for (int64_t l = 0; l < 4; ++l) {
    const __m256i pair =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lines + l * kLineBytes + 32 * half));
    const __m256i low = _mm256_and_si256(pair, low_nibbles);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(pair, 4), low_nibbles);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const uint8_t* inputs = x + m * stride + 8 * l;
      group[m] = _mm256_add_epi16(group[m], _mm256_maddubs_epi16(low, broadcast(inputs)));
      group[m] = _mm256_add_epi16(group[m], _mm256_maddubs_epi16(high, broadcast(inputs + 4)));
    }
  }
  const __m256i words = factor_words(factors + 8 * half);
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    sums.v[m][half] = _mm256_add_epi32(sums.v[m][half], _mm256_madd_epi16(group[m], words));
  }
}

struct Int4Sums {
  template <int kRows>
  static void add(const LinearParams& p, int64_t row, int64_t panel, IntegerSums<kRows>& sums) {
    const auto* block = static_cast<const uint8_t*>(p.panels) + panel * panel_bytes(p.num_inputs, p.format);
    const auto* x = static_cast<const uint8_t*>(p.x) + row * p.x_stride;
    constexpr int64_t kGroups = kSuperblockInputs / kInt4GroupInputs;
    const int64_t num_groups = padded_inputs(p.num_inputs, PanelFormat::kInt8) / kInt4GroupInputs;
    for (int64_t g = 0; g < num_groups; ++g, x += kInt4GroupInputs) {
      const uint8_t* factor_line = block + g / kGroups * kSuperblockBytes;
      const uint8_t* lines = factor_line + (1 + 4 * (g % kGroups)) * kLineBytes;
      const uint8_t* factors = factor_line + g % kGroups * kPanelRows;
      __m256i starts[kRows];
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) starts[m] = group_start(x + m * p.x_stride);
      add_group<kRows>(lines, factors, 0, x, p.x_stride, starts, sums);
      add_group<kRows>(lines, factors, 1, x, p.x_stride, starts, sums);
    }
  }
};

}  // namespace

void linear_int4(const LinearParams& p) { linear_integers<Int4Sums>(p); }

}  // namespace fathom::kernels::avx2
