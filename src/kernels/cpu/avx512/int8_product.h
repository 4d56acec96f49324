// What a step of the int8 linears is.
#pragma once

#include "kernels/cpu/avx512/linear.h"

namespace fathom::kernels::avx512 {

// Four products of unsigned inputs and signed weights a lane: 64 bytes of weights a step. Sums are exact:
// 16384 * 255 * 127 < 2^31: o_proj of the 236B model has the most inputs.
template <int kDigits>
struct Int8Product {
  using Sum = __m512i;
  using Line = __m512i;
  static constexpr PanelFormat kFormat = PanelFormat::kInt8;
  static constexpr int64_t kInputBytes = 1;
  static constexpr int64_t kInputsOfLine = 4;  // bytes
  static constexpr int kRowsOfToken = kDigits;

  // What finish() reads of a panel lies apart from the stream of its lines: asked for only then, it would
  // hold the stream up by the latency of memory.
  static void prefetch(const LinearParams& p, int64_t panel) {
    _mm_prefetch(p.weight_scales + panel * kPanelRows, _MM_HINT_T0);
    _mm_prefetch(p.weight_sums + panel * kPanelRows, _MM_HINT_T0);
  }
  static Sum zero() { return _mm512_setzero_si512(); }
  static Line load(const char* line) { return _mm512_loadu_si512(line); }
  static __m512i broadcast(const char* x) { return _mm512_set1_epi32(*reinterpret_cast<const int32_t*>(x)); }
  static Sum multiply(Sum sum, Line weights, __m512i inputs) {
    return _mm512_dpbusd_epi32(sum, inputs, weights);
  }

  // The sum over q in place of q + zero point, as float.
  static __m512 exact(const LinearParams& p, int64_t panel, Sum sum) {
    const __m512i sums = _mm512_loadu_si512(p.weight_sums + panel * kPanelRows);
    const __m512i offset = _mm512_mullo_epi32(sums, _mm512_set1_epi32(p.int8_zero_point));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset));
  }
  static __m512 finish(const LinearParams& p, int64_t t, int64_t panel, Sum high, Sum low) {
    return scale_sums<kDigits>(p, t, panel, exact(p, panel, high), exact(p, panel, low));
  }
};

}  // namespace fathom::kernels::avx512
