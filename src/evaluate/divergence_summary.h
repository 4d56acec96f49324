// The divergences of a whole text in a few numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "evaluate/divergence.h"

namespace fathom {

// modeltest's: at most 0.5 % of the tokens of a simplified test may have more.
inline constexpr double kKlLimit = 1e-4;

struct DivergenceSummary {
  int64_t num_tokens = 0;
  // Of KL(A || B), nats. A percentile is the smallest value that so many per cent do not exceed.
  double kl_mean = 0;
  double kl_median = 0;
  double kl_p99 = 0;
  double kl_max = 0;
  double kl_above_limit = 0;  // share of the tokens with more than kKlLimit, [0, 1]
  int64_t kl_max_index = 0;   // the first token with kl_max
  double top1_agreement = 0;  // share of the tokens, [0, 1]
  double nll_a = 0;           // sums over the tokens, nats
  double nll_b = 0;
  // Mean of nll_b - nll_a per token: the logarithm of B's perplexity over A's.
  double log_ratio = 0;
  // Its standard error, as if tokens were independent of each other; none for one token.
  std::optional<double> log_ratio_error = std::nullopt;

  double perplexity_a() const;
  double perplexity_b() const;
};

// Keeps 8 bytes a token.
class DivergenceCollector {
 public:
  // In the order of the tokens: sums depend on it.
  void add(const Divergence& divergence);
  // Precondition: at least one was added.
  DivergenceSummary summary() const;

 private:
  std::vector<double> kl_;
  int64_t num_same_top_ = 0;
  double nll_a_ = 0;
  double nll_b_ = 0;
  // Welford's running mean, and sum of squared distances from it, of nll_b - nll_a.
  double ratio_mean_ = 0;
  double ratio_squares_ = 0;
};

}  // namespace fathom
