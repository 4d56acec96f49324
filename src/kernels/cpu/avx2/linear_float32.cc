#include "kernels/cpu/avx2/kernels.h"
#include "kernels/cpu/avx2/linear.h"

namespace fathom::kernels::avx2 {
namespace {

// A panel's lines once per tile of six tokens: 16 multiply-adds a line's input and token, eight at a time.
// With one token the two chains of a panel take a line of bf16 in 8 cycles, faster than memory gives it. With
// 64 and more: 78 to 88 % of the multiply-adds' peak for float32, 80 to 90 % for bf16, 66 to 70 % for fp16,
// whose decoding leaves 75 % of it even in registers (EPYC 9004, one core, 2026-11).
template <typename Lines>
struct FloatFamily {
  static constexpr int kTokens = kTileRows;
  static constexpr int64_t kTokenBytes = 4;

  template <int kCount>
  static void values(const LinearParams& p, int64_t t, int64_t panel, float (*out)[kPanelRows]) {
    const auto* line = static_cast<const uint8_t*>(p.panels) + panel * panel_bytes(p.num_inputs, p.format);
    const TileInputs in{static_cast<const float*>(p.x) + t * p.x_stride, p.x_stride, 1};
    const int64_t num_lines = (p.num_inputs + Lines::kInputs - 1) / Lines::kInputs;
    TileSums<kCount, 2> sums;
    clear(sums);
    multiply<Lines>(in, line, kLineBytes, num_lines, sums);
#pragma GCC unroll 8
    for (int m = 0; m < kCount; ++m) {
      Lines::put_in_order(sums.v[m][0], sums.v[m][1]);
      _mm256_store_ps(out[m], sums.v[m][0]);
      _mm256_store_ps(out[m] + kLanes, sums.v[m][1]);
    }
  }
};

}  // namespace

void linear_float32(const LinearParams& p) {
  if (p.format == PanelFormat::kBFloat16) return linear<FloatFamily<BFloat16Lines>>(p);
  if (p.format == PanelFormat::kFloat16) return linear<FloatFamily<Float16Lines>>(p);
  linear<FloatFamily<Float32Lines>>(p);
}

}  // namespace fathom::kernels::avx2
