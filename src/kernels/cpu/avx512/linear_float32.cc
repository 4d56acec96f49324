#include "kernels/cpu/avx512/kernels.h"
#include "kernels/cpu/avx512/linear.h"

namespace fathom::kernels::avx512 {
namespace {

struct Float32Product {
  using Sum = __m512;
  using Line = __m512;
  static constexpr PanelFormat kFormat = PanelFormat::kFloat32;
  static constexpr int64_t kInputBytes = 4;
  static constexpr int64_t kInputsOfLine = 4;  // bytes
  static constexpr int kRowsOfToken = 1;

  static void prefetch(const LinearParams&, int64_t) {}
  static Sum zero() { return _mm512_setzero_ps(); }
  static Line load(const char* line) { return _mm512_loadu_ps(line); }
  static __m512 broadcast(const char* x) { return _mm512_set1_ps(*reinterpret_cast<const float*>(x)); }
  static Sum multiply(Sum sum, Line weights, __m512 inputs) { return _mm512_fmadd_ps(weights, inputs, sum); }
  static __m512 finish(const LinearParams&, int64_t, int64_t, Sum sum, Sum) { return sum; }
};

// 16 outputs at two inputs.
struct Pair {
  __m512 even;
  __m512 odd;
};

// Weights of 16 bits, two a lane, each widened to float32.
struct WidenedProduct {
  using Sum = __m512;
  using Line = Pair;
  static constexpr int64_t kInputBytes = 4;
  static constexpr int64_t kInputsOfLine = 8;  // bytes
  static constexpr int kRowsOfToken = 1;

  static void prefetch(const LinearParams&, int64_t) {}
  static Sum zero() { return _mm512_setzero_ps(); }
  static Pair broadcast(const char* x) {
    const auto* inputs = reinterpret_cast<const float*>(x);
    return {_mm512_set1_ps(inputs[0]), _mm512_set1_ps(inputs[1])};
  }
  static Sum multiply(Sum sum, const Line& weights, const Pair& inputs) {
    return _mm512_fmadd_ps(weights.odd, inputs.odd, _mm512_fmadd_ps(weights.even, inputs.even, sum));
  }
  static __m512 finish(const LinearParams&, int64_t, int64_t, Sum sum, Sum) { return sum; }
};

struct WidenedBf16Product : WidenedProduct {
  static constexpr PanelFormat kFormat = PanelFormat::kBFloat16;
  static Line load(const char* line) {
    const __m512i bits = _mm512_loadu_si512(line);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)),
            _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(-65536)))};
  }
};

struct WidenedFp16Product : WidenedProduct {
  static constexpr PanelFormat kFormat = PanelFormat::kFloat16;
  static Line load(const char* line) {
    const __m512i bits = _mm512_loadu_si512(line);
    return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits)),
            _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)))};
  }
};

}  // namespace

void linear_float32(const LinearParams& p) {
  if (p.format == PanelFormat::kBFloat16) {
    run_linear<WidenedBf16Product>(p);
  } else if (p.format == PanelFormat::kFloat16) {
    run_linear<WidenedFp16Product>(p);
  } else {
    run_linear<Float32Product>(p);
  }
}

}  // namespace fathom::kernels::avx512
