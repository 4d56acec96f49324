#include "kernels/ref/kernels.h"
#include "kernels/ref/numbers.h"

namespace fathom::kernels::ref {
namespace {

float float_product(const LinearParams& p, int64_t t, int64_t output) {
  const DType x_dtype = p.form == InputForm::kBFloat16 ? DType::kBFloat16 : DType::kFloat32;
  double sum = 0;
  for (int64_t k = 0; k < p.num_inputs; ++k) {
    sum += static_cast<double>(load_element(p.x, x_dtype, t * p.x_stride + k)) *
           load_packed(p.panels, p.format, p.num_inputs, output, k);
  }
  return static_cast<float>(sum);
}

// The exact sum over one row of bytes.
int32_t int8_sum(const LinearParams& p, int64_t row, int64_t output) {
  const auto* x = static_cast<const uint8_t*>(p.x) + row * p.x_stride;
  int32_t sum = 0;
  for (int64_t k = 0; k < p.num_inputs; ++k) {
    // A zero point of 0 means signed bytes.
    const int32_t q = p.int8_zero_point == 0 ? static_cast<int8_t>(x[k]) : x[k] - p.int8_zero_point;
    sum += q * static_cast<int32_t>(load_packed(p.panels, p.format, p.num_inputs, output, k));
  }
  return sum;
}

float product(const LinearParams& p, int64_t t, int64_t output) {
  if (p.form == InputForm::kInt8) {
    return static_cast<float>(int8_sum(p, t, output)) * p.weight_scales[output] * p.x_scales[t];
  }
  if (p.form == InputForm::kInt8Pair) {
    const auto high = static_cast<float>(int8_sum(p, 2 * t, output));
    const auto low = static_cast<float>(int8_sum(p, 2 * t + 1, output));
    return std::fma(high, kDigitBase, low) * p.weight_scales[output] * p.x_scales[t];
  }
  return float_product(p, t, output);
}

void put(const LinearParams& p, int64_t t, int64_t j, float value) {
  if (p.bias != nullptr) value += p.bias[j];
  float& y = p.y[(p.y_rows != nullptr ? p.y_rows[t] : t) * p.y_stride + j];
  switch (p.output) {
    case LinearParams::Output::kAdd:
      y += value;
      return;
    case LinearParams::Output::kAddWeighted: {
      const float weighted = p.y_weights[t] * value;
      y += weighted;
      return;
    }
    default:
      y = value;
  }
}

}  // namespace

void linear(const LinearParams& p) {
  const bool paired = p.output == LinearParams::Output::kSiluMul;
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    for (int64_t panel = p.begin; panel < p.end; panel += paired ? 2 : 1) {
      for (int64_t i = 0; i < kPanelRows; ++i) {
        const int64_t j = (paired ? panel / 2 : panel) * kPanelRows + i;
        if (j >= p.num_outputs) break;
        float value = product(p, t, panel * kPanelRows + i);
        if (paired) {
          const float silu = value / (1.0f + std::exp(-value));
          value = round_activation(silu * product(p, t, (panel + 1) * kPanelRows + i), p.rounding);
        }
        put(p, t, j, value);
      }
    }
  }
}

}  // namespace fathom::kernels::ref
