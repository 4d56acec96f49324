#include "sample/log_softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/exact_exp.h"

namespace fathom {

bool all_finite(std::span<const float> values) {
  bool finite = true;
  for (float value : values) finite &= std::abs(value) <= std::numeric_limits<float>::max();
  return finite;
}

LogSoftmax::LogSoftmax(std::span<const float> logits)
    : max_(*std::max_element(logits.begin(), logits.end())) {
  double sum = 0;
  for (float logit : logits) sum += exact_exp(static_cast<double>(logit) - max_);
  log_sum_ = std::log(sum);
}

}  // namespace fathom
