#include "evaluate/divergence_summary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace fathom {
namespace {

DivergenceSummary summarize(const std::vector<Divergence>& divergences) {
  DivergenceCollector collector;
  for (const Divergence& divergence : divergences) collector.add(divergence);
  return collector.summary();
}

TEST(DivergenceSummary, OneToken) {
  const DivergenceSummary got = summarize({{.kl = 0.5, .nll_a = 1, .nll_b = 3, .same_top = true}});
  EXPECT_EQ(got.num_tokens, 1);
  for (const double kl : {got.kl_mean, got.kl_median, got.kl_p99, got.kl_max}) EXPECT_EQ(kl, 0.5);
  EXPECT_EQ(got.top1_agreement, 1);
  EXPECT_EQ(got.log_ratio, 2);
  EXPECT_FALSE(got.log_ratio_error);
  EXPECT_DOUBLE_EQ(got.perplexity_a(), std::exp(1.0));
  EXPECT_DOUBLE_EQ(got.perplexity_b(), std::exp(3.0));
}

// 200 divergences 1 to 200 out of order: half of them do not exceed 100, 99 per cent not 198.
TEST(DivergenceSummary, PercentilesAndPlaceOfTheMaximum) {
  std::vector<Divergence> divergences;
  for (int i = 0; i < 200; ++i) divergences.push_back({.kl = (i * 77) % 200 + 1.0, .same_top = i % 4 != 0});
  const DivergenceSummary got = summarize(divergences);
  EXPECT_EQ(got.kl_mean, 100.5);
  EXPECT_EQ(got.kl_median, 100);
  EXPECT_EQ(got.kl_p99, 198);
  EXPECT_EQ(got.kl_max, 200);
  EXPECT_EQ(divergences[static_cast<size_t>(got.kl_max_index)].kl, 200);
  EXPECT_EQ(got.top1_agreement, 0.75);
}

TEST(DivergenceSummary, OfEqualMaximaTheFirst) {
  EXPECT_EQ(summarize({{.kl = 1}, {.kl = 3}, {.kl = 2}, {.kl = 3}}).kl_max_index, 1);
}

TEST(DivergenceSummary, ShareAboveTheLimitLeavesTheLimitOut) {
  EXPECT_EQ(summarize({{.kl = 0}, {.kl = kKlLimit}, {.kl = kKlLimit * 1.001}, {.kl = 1}}).kl_above_limit,
            0.5);
}

// Differences 1, 2, 3, 6: mean 3, squared distances 4 + 1 + 0 + 9, so a variance of 14 / 3 and an error of
// the mean of sqrt(14 / 3 / 4).
TEST(DivergenceSummary, PairedError) {
  const DivergenceSummary got = summarize({{.nll_a = 5, .nll_b = 6},
                                           {.nll_a = 1, .nll_b = 3},
                                           {.nll_a = 2, .nll_b = 5},
                                           {.nll_a = 0, .nll_b = 6}});
  EXPECT_DOUBLE_EQ(got.log_ratio, 3);
  ASSERT_TRUE(got.log_ratio_error);
  EXPECT_DOUBLE_EQ(*got.log_ratio_error, std::sqrt(14.0 / 12));
  EXPECT_EQ(got.nll_a, 8);
  EXPECT_EQ(got.nll_b, 20);
}

// A steady difference has no error, however large the numbers that it is between: squares of them would leave
// their rounding.
TEST(DivergenceSummary, SteadyDifferenceHasNoError) {
  std::vector<Divergence> divergences;
  for (int i = 0; i < 1000; ++i) divergences.push_back({.nll_a = i * 1e6, .nll_b = i * 1e6 + 1024});
  const DivergenceSummary got = summarize(divergences);
  EXPECT_EQ(got.log_ratio, 1024);
  EXPECT_EQ(*got.log_ratio_error, 0);
}

TEST(DivergenceSummary, EqualsTwoPassesInLongDouble) {
  constexpr int kCount = 5000;
  std::mt19937 generator(9);
  std::normal_distribution<double> noise(1e-4, 1e-3);
  std::vector<Divergence> divergences;
  long double sum = 0;
  for (int i = 0; i < kCount; ++i) {
    divergences.push_back({.nll_a = 5, .nll_b = 5 + noise(generator)});
    sum += static_cast<long double>(divergences.back().nll_b) - divergences.back().nll_a;
  }
  const long double mean = sum / kCount;
  long double squares = 0;
  for (const Divergence& one : divergences)
    squares += (one.nll_b - one.nll_a - mean) * (one.nll_b - one.nll_a - mean);
  const DivergenceSummary got = summarize(divergences);
  constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
  EXPECT_NEAR(got.log_ratio, static_cast<double>(mean), kCount * kEpsilon * 1e-3);
  const double error = static_cast<double>(std::sqrt(squares / (kCount - 1) / kCount));
  EXPECT_NEAR(*got.log_ratio_error, error, error * kCount * kEpsilon);
}

}  // namespace
}  // namespace fathom
