// The logarithm of softmax of one row of logits, in double: what every measure of a prediction is made of.
#pragma once

#include <span>

namespace fathom {

// Neither infinity nor NaN anywhere.
bool all_finite(std::span<const float> values);

class LogSoftmax {
 public:
  // logits: at least one, all finite, of any size: they are taken relative to the largest.
  explicit LogSoftmax(std::span<const float> logits);

  // The log-probability, in nats and at most 0 (save for rounding), of a token with this logit.
  double of(float logit) const { return (static_cast<double>(logit) - max_) - log_sum_; }

 private:
  double max_;
  double log_sum_;  // log of the sum of exp(logit - max)
};

}  // namespace fathom
