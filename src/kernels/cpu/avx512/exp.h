// Softmax weights in sixteen lanes.
#pragma once

#include <immintrin.h>

namespace fathom::kernels::avx512 {

// e^x for x <= 0: x = n ln 2 + f with |f| <= ln 2 / 2, the Taylor polynomial of degree 6 in f (next term
// below 1.3e-7 relative), times 2^n. Exactly 0 below -87.3, where float32 would become subnormal, and for
// -infinity; NaN stays NaN.
static inline __m512 weight_lanes(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts: n * upper is exact.
  __m512 f = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145752f), x);
  f = _mm512_fnmadd_ps(n, _mm512_set1_ps(1.42860677e-6f), f);
  __m512 sum = _mm512_set1_ps(1.0f / 720);
  sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f / 120));
  sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f / 24));
  sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f / 6));
  sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(0.5f));
  sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f));
  sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f));
  const __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3f), _CMP_NLT_UQ);
  return _mm512_maskz_scalef_ps(normal, sum, n);
}

}  // namespace fathom::kernels::avx512
