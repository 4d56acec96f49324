// Against the same sums in long double, written out, and against distributions whose divergence is known.
#include "evaluate/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "sample/log_softmax.h"

namespace fathom {
namespace {

std::vector<long double> reference_log_softmax(const std::vector<float>& logits) {
  long double max = logits[0];
  for (float logit : logits) max = std::max<long double>(max, logit);
  long double sum = 0;
  for (float logit : logits) sum += std::exp(logit - max);
  std::vector<long double> result;
  for (float logit : logits) result.push_back(logit - max - std::log(sum));
  return result;
}

struct Reference {
  long double kl = 0;
  long double size = 0;  // the terms' absolute values
};

Reference reference_kl(const std::vector<float>& a, const std::vector<float>& b) {
  const auto log_a = reference_log_softmax(a);
  const auto log_b = reference_log_softmax(b);
  Reference reference;
  for (size_t i = 0; i < a.size(); ++i) {
    const long double term = std::exp(log_a[i]) * (log_a[i] - log_b[i]);
    reference.kl += term;
    reference.size += std::abs(term);
  }
  return reference;
}

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> result;
  for (double p : probabilities) result.push_back(static_cast<float>(std::log(p)));
  return result;
}

std::vector<float> random_logits(size_t count, float spread, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(generator);
  return logits;
}

// A log-probability errs by what the sum of n terms and the logits' subtraction round: (n + 8) eps of the
// sum, as an absolute error of the logarithm, and eps of its own size. A term of the divergence carries two
// of them and exp's; the terms' sum rounds n times.
void expect_like_reference(const std::vector<float>& a, const std::vector<float>& b) {
  constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
  const auto n = static_cast<double>(a.size());
  const auto log_a = reference_log_softmax(a);
  const auto log_b = reference_log_softmax(b);
  const Reference want = reference_kl(a, b);
  const auto log_error = [n](long double log) {
    return (n + 8) * kEpsilon + kEpsilon * std::abs(static_cast<double>(log));
  };
  double likely = 0;  // the largest log-probability error of tokens that count
  for (size_t i = 0; i < a.size(); ++i) {
    likely += static_cast<double>(std::exp(log_a[i])) * (log_error(log_a[i]) + log_error(log_b[i]));
  }
  const double kl_error = likely + (2 * n + 16) * kEpsilon * static_cast<double>(want.size);
  for (const size_t token : {size_t{0}, a.size() / 2, a.size() - 1}) {
    const Divergence got = diverge(a, b, static_cast<int32_t>(token));
    EXPECT_NEAR(got.kl, static_cast<double>(want.kl), kl_error);
    EXPECT_NEAR(got.nll_a, static_cast<double>(-log_a[token]), log_error(log_a[token]));
    EXPECT_NEAR(got.nll_b, static_cast<double>(-log_b[token]), log_error(log_b[token]));
  }
}

TEST(Divergence, EqualsLongDouble) {
  for (const size_t count : {size_t{1}, size_t{2}, size_t{7}, size_t{1000}, size_t{10007}}) {
    for (const float spread : {1e-3f, 1.0f, 30.0f, 1e4f}) {
      SCOPED_TRACE(::testing::Message() << count << " logits of spread " << spread);
      expect_like_reference(random_logits(count, spread, 1), random_logits(count, spread, 2));
    }
  }
}

TEST(Divergence, CloseModelsKeepTheirSmallDivergence) {
  const std::vector<float> a = random_logits(5000, 3, 5);
  std::vector<float> b = a;
  const std::vector<float> noise = random_logits(5000, 1e-4f, 6);
  for (size_t i = 0; i < b.size(); ++i) b[i] += noise[i];
  expect_like_reference(a, b);
  EXPECT_GT(diverge(a, b, 0).kl, 1e-10);
}

TEST(Divergence, HugeLogits) {
  constexpr float kHuge = std::numeric_limits<float>::max();
  expect_like_reference({kHuge, -kHuge, 0}, {kHuge, -kHuge, 0});
  expect_like_reference({1e30f, 1e30f, -1e30f}, {3e38f, 3e38f, -3e38f});
  // The first is certain of what the second excludes.
  const Divergence opposite =
      diverge(std::vector<float>{kHuge, -kHuge}, std::vector<float>{-kHuge, kHuge}, 0);
  EXPECT_DOUBLE_EQ(opposite.kl, 2.0 * kHuge);
  EXPECT_EQ(opposite.nll_a, 0);
  EXPECT_DOUBLE_EQ(opposite.nll_b, 2.0 * kHuge);
  EXPECT_FALSE(opposite.same_top);
}

TEST(Divergence, EqualModelsDivergeByExactlyNothing) {
  for (const float spread : {1e-3f, 1.0f, 50.0f, 3e37f}) {
    const std::vector<float> logits = random_logits(997, spread, 3);
    const Divergence got = diverge(logits, logits, 5);
    EXPECT_EQ(got.kl, 0);
    EXPECT_EQ(got.nll_a, got.nll_b);
    EXPECT_TRUE(got.same_top);
  }
}

// The inputs are float32 logarithms, each off by at most 2^-24 of its size (below 4 here).
TEST(Divergence, KnownDistributions) {
  constexpr double kInputError = 4 * 0x1p-24 * 4;
  const auto kl = [](const std::vector<double>& a, const std::vector<double>& b) {
    return diverge(logs(a), logs(b), 0).kl;
  };
  EXPECT_NEAR(kl({0.5, 0.5}, {0.25, 0.75}), 0.5 * std::log(4.0 / 3.0), kInputError);
  EXPECT_NEAR(kl({0.25, 0.75}, {0.5, 0.5}), 0.75 * std::log(3.0) - std::log(2.0), kInputError);
  EXPECT_NEAR(kl({0.25, 0.25, 0.25, 0.25}, {0.1, 0.2, 0.3, 0.4}),
              0.25 * std::log(0.25 * 0.25 * 0.25 * 0.25 / 0.0024), kInputError);
  const Divergence got = diverge(logs({0.5, 0.25, 0.25}), logs({0.2, 0.5, 0.3}), 1);
  EXPECT_NEAR(got.nll_a, std::log(4.0), kInputError);
  EXPECT_NEAR(got.nll_b, std::log(2.0), kInputError);
  EXPECT_FALSE(got.same_top);
}

// A constant added to all logits of one side, exact in float32, changes no probability.
TEST(Divergence, DoesNotSeeAShift) {
  const std::vector<float> a{1, -2, 0.5f, 3}, b{0.25f, 1, 2, -1};
  std::vector<float> shifted = b;
  for (float& logit : shifted) logit += 4096;
  EXPECT_EQ(diverge(a, b, 2).kl, diverge(a, shifted, 2).kl);
  EXPECT_EQ(diverge(a, b, 2).nll_b, diverge(a, shifted, 2).nll_b);
}

TEST(Divergence, OfEqualLogitsTheFirstIsTop) {
  EXPECT_TRUE(diverge(std::vector<float>{1, 2, 2}, std::vector<float>{0, 5, 1}, 0).same_top);
  EXPECT_FALSE(diverge(std::vector<float>{1, 2, 2}, std::vector<float>{0, 1, 5}, 0).same_top);
}

TEST(AllFinite, FindsEverySpecialAnywhere) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(all_finite(
      std::vector<float>{0, -std::numeric_limits<float>::max(), std::numeric_limits<float>::max()}));
  for (const float special : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (size_t at = 0; at < 19; ++at) {
      std::vector<float> values(19, 1.0f);
      values[at] = special;
      EXPECT_FALSE(all_finite(values)) << special << " at " << at;
    }
  }
}

}  // namespace
}  // namespace fathom
