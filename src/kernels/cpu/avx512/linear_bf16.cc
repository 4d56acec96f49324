#include "kernels/cpu/avx512/kernels.h"
#include "kernels/cpu/avx512/linear.h"

namespace fathom::kernels::avx512 {
namespace {

struct Bf16Product {
  using Sum = __m512;
  using Line = __m512bh;
  static constexpr PanelFormat kFormat = PanelFormat::kBFloat16;
  static constexpr int64_t kInputBytes = 2;
  static constexpr int64_t kInputsOfLine = 4;  // bytes: two inputs
  static constexpr int kRowsOfToken = 1;

  static void prefetch(const LinearParams&, int64_t) {}
  static Sum zero() { return _mm512_setzero_ps(); }
  static Line load(const char* line) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(line)); }
  static __m512bh broadcast(const char* x) {
    return reinterpret_cast<__m512bh>(_mm512_set1_epi32(*reinterpret_cast<const int32_t*>(x)));
  }
  static Sum multiply(Sum sum, Line weights, __m512bh inputs) {
    return _mm512_dpbf16_ps(sum, weights, inputs);
  }
  static __m512 finish(const LinearParams&, int64_t, int64_t, Sum sum, Sum) { return sum; }
};

}  // namespace

void linear_bf16(const LinearParams& p) { run_linear<Bf16Product>(p); }

}  // namespace fathom::kernels::avx512
