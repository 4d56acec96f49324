#include "evaluate/divergence_summary.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace fathom {
namespace {

// values: sorted, not empty.
double percentile(std::span<const double> values, double percent) {
  const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

double share_above(std::span<const double> values, double limit) {
  const auto count =
      std::count_if(values.begin(), values.end(), [limit](double value) { return value > limit; });
  return static_cast<double>(count) / static_cast<double>(values.size());
}

}  // namespace

double DivergenceSummary::perplexity_a() const { return std::exp(nll_a / static_cast<double>(num_tokens)); }
double DivergenceSummary::perplexity_b() const { return std::exp(nll_b / static_cast<double>(num_tokens)); }

void DivergenceCollector::add(const Divergence& divergence) {
  kl_.push_back(divergence.kl);
  num_same_top_ += divergence.same_top;
  nll_a_ += divergence.nll_a;
  nll_b_ += divergence.nll_b;
  const double ratio = divergence.nll_b - divergence.nll_a;
  const double distance = ratio - ratio_mean_;
  ratio_mean_ += distance / static_cast<double>(kl_.size());
  ratio_squares_ += distance * (ratio - ratio_mean_);
}

DivergenceSummary DivergenceCollector::summary() const {
  FATHOM_CHECK(!kl_.empty(), "a summary of no tokens");
  const auto count = static_cast<double>(kl_.size());
  std::vector<double> sorted = kl_;
  std::sort(sorted.begin(), sorted.end());
  DivergenceSummary summary{.num_tokens = static_cast<int64_t>(kl_.size()),
                            .kl_mean = std::accumulate(kl_.begin(), kl_.end(), 0.0) / count,
                            .kl_median = percentile(sorted, 50),
                            .kl_p99 = percentile(sorted, 99),
                            .kl_max = sorted.back(),
                            .kl_above_limit = share_above(sorted, kKlLimit),
                            .kl_max_index = std::max_element(kl_.begin(), kl_.end()) - kl_.begin(),
                            .top1_agreement = static_cast<double>(num_same_top_) / count,
                            .nll_a = nll_a_,
                            .nll_b = nll_b_,
                            .log_ratio = ratio_mean_};
  if (kl_.size() > 1) summary.log_ratio_error = std::sqrt(ratio_squares_ / (count - 1) / count);
  return summary;
}

}  // namespace fathom
