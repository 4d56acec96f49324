#include "evaluate/divergence.h"

#include <algorithm>

#include "base/check.h"
#include "base/exact_exp.h"
#include "sample/log_softmax.h"

namespace fathom {
namespace {

auto top(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

}  // namespace

Divergence diverge(std::span<const float> a, std::span<const float> b, int32_t token) {
  FATHOM_CHECK(a.size() == b.size(), "{} and {} logits", a.size(), b.size());
  const LogSoftmax log_a(a), log_b(b);
  double kl = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double log_probability = log_a.of(a[i]);
    // At most 0 save for rounding, which exact_exp does not take.
    kl += exact_exp(std::min(log_probability, 0.0)) * (log_probability - log_b.of(b[i]));
  }
  const auto target = static_cast<size_t>(token);
  return {.kl = std::max(kl, 0.0),  // less than 0 by rounding only
          .nll_a = -log_a.of(a[target]),
          .nll_b = -log_b.of(b[target]),
          .same_top = top(a) == top(b)};
}

}  // namespace fathom
