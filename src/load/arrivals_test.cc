#include "load/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace fathom {
namespace {

TEST(Arrivals, AllAtOnceWithoutARate) {
  EXPECT_EQ(arrival_times(3, std::numeric_limits<double>::infinity(), 1, 0), std::vector<double>(3, 0));
  EXPECT_TRUE(arrival_times(0, 1, 1, 0).empty());
}

// Gaps of a gamma distribution with shape k and mean 1/rate have the variance 1 / (k rate²). Of n gaps the
// estimate of a variance has a relative standard error of sqrt((2 + 6/k) / n): six of them are allowed.
TEST(Arrivals, GapsHaveTheGammasVariance) {
  constexpr size_t kCount = 100000;
  constexpr double kRate = 4;
  for (double shape : {0.25, 0.5, 1.0, 2.0, 10.0}) {
    const std::vector<double> times = arrival_times(kCount, kRate, shape, 7);
    EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
    EXPECT_NEAR(times.back(), kCount / kRate, 1e-6);
    double squares = 0, before = 0;
    for (double time : times) {
      const double off = time - before - 1 / kRate;
      squares += off * off;
      before = time;
    }
    const double wanted = 1 / (shape * kRate * kRate);
    EXPECT_NEAR(squares / kCount, wanted, wanted * 6 * std::sqrt((2 + 6 / shape) / kCount)) << shape;
  }
}

// Of a Poisson process, exp(-1) of the gaps are longer than the mean.
TEST(Arrivals, ShapeOneIsExponential) {
  constexpr size_t kCount = 100000;
  const std::vector<double> times = arrival_times(kCount, 1, 1, 3);
  double before = 0;
  size_t num_long = 0;
  for (double time : times) {
    if (time - before > 1) ++num_long;
    before = time;
  }
  const double share = std::exp(-1.0);
  EXPECT_NEAR(static_cast<double>(num_long) / kCount, share, 6 * std::sqrt(share * (1 - share) / kCount));
}

TEST(Arrivals, DependOnTheSeedAlone) {
  EXPECT_EQ(arrival_times(50, 2, 0.7, 1), arrival_times(50, 2, 0.7, 1));
  EXPECT_NE(arrival_times(50, 2, 0.7, 1), arrival_times(50, 2, 0.7, 2));
}

}  // namespace
}  // namespace fathom
