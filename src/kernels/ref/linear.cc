#include "kernels/ref/kernels.h"
#include "kernels/ref/numbers.h"

namespace fathom::kernels::ref {

void linear(const LinearParams& p) {
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    for (int64_t j = p.begin; j < p.end; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < p.num_inputs; ++k) {
        sum += static_cast<double>(p.x[t * p.x_stride + k]) *
               load_element(p.weight, p.weight_dtype, j * p.num_inputs + k);
      }
      if (p.bias != nullptr) sum += p.bias[j];
      float& y = p.y[t * p.y_stride + j];
      y = p.output == LinearParams::Output::kAdd ? y + static_cast<float>(sum) : static_cast<float>(sum);
    }
  }
}

void transposed_linear(const TransposedLinearParams& p) {
  for (int64_t j = 0; j < p.num_outputs; ++j) {
    double sum = 0;
    for (int64_t k = 0; k < p.num_inputs; ++k) {
      sum += static_cast<double>(p.x[k]) * load_element(p.weight, p.weight_dtype, k * p.num_outputs + j);
    }
    p.y[j] = static_cast<float>(sum);
  }
}

}  // namespace fathom::kernels::ref
