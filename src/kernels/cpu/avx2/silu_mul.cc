#include "kernels/cpu/avx2/kernels.h"
#include "kernels/cpu/avx2/vector.h"

namespace fathom::kernels::avx2 {
namespace {

// To the nearest value with the top 32 - dropped bits, ties to even; infinities and NaN as they are.
__m256 keep_top_bits(__m256 x, int dropped) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, dropped), _mm256_set1_epi32(1));
  const __m256i half = _mm256_set1_epi32((1 << (dropped - 1)) - 1);
  const __m256i mask = _mm256_set1_epi32(~((1 << dropped) - 1));
  const __m256i rounded = _mm256_and_si256(_mm256_add_epi32(bits, _mm256_add_epi32(half, odd)), mask);
  const __m256 special = _mm256_cmp_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x),
                                       _mm256_set1_ps(__builtin_inff()), _CMP_NLT_UQ);
  return _mm256_blendv_ps(_mm256_castsi256_ps(rounded), x, special);
}

// float16's precision over float32's range: subnormals of float16 keep its fixed unit of 2^-24.
__m256 round_float16(__m256 x) {
  const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
  const __m256 small = _mm256_cmp_ps(magnitude, _mm256_set1_ps(0x1p-14f), _CMP_LT_OQ);
  const __m256 via_half = _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  return _mm256_blendv_ps(keep_top_bits(x, 13), via_half, small);
}

__m256 round_lanes(__m256 x, ActivationRounding rounding) {
  if (rounding == ActivationRounding::kBFloat16) return keep_top_bits(x, 16);
  if (rounding == ActivationRounding::kFloat16) return round_float16(x);
  return x;
}

__m256 silu_mul_lanes(__m256 gate, __m256 up, ActivationRounding rounding) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 negated = _mm256_sub_ps(_mm256_setzero_ps(), gate);
  const __m256 silu = _mm256_div_ps(gate, _mm256_add_ps(one, exp_lanes(negated)));
  return round_lanes(_mm256_mul_ps(silu, up), rounding);
}

}  // namespace

void silu_mul(const SiluMulParams& p) {
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    const float* gate = p.gate + t * p.stride;
    const float* up = p.up + t * p.stride;
    float* h = p.h + t * p.stride;
    int64_t j = p.begin;
    for (; j + 8 <= p.end; j += 8) {
      _mm256_storeu_ps(h + j, silu_mul_lanes(_mm256_loadu_ps(gate + j), _mm256_loadu_ps(up + j), p.rounding));
    }
    if (const int64_t tail = p.end - j; tail > 0) {
      alignas(32) float lanes[8];
      _mm256_store_ps(lanes, silu_mul_lanes(load_tail<DecodeFloat32>(gate + j, tail),
                                            load_tail<DecodeFloat32>(up + j, tail), p.rounding));
      for (int64_t i = 0; i < tail; ++i) h[j + i] = lanes[i];
    }
  }
}

}  // namespace fathom::kernels::avx2
