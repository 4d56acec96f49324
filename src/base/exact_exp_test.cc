#include "base/exact_exp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"

namespace fathom {
namespace {

TEST(ExactExp, IsCloseToTheTrueValue) {
  double worst = 0;
  for (uint64_t i = 0; i < 1000000; ++i) {
    const double x = -708.0 * std::pow(random_uniform(1, i), 1 + static_cast<double>(i % 8));
    const long double expected = std::exp(static_cast<long double>(x));
    const double error = static_cast<double>(std::abs((exact_exp(x) - expected) / expected));
    worst = std::max(worst, error);
  }
  EXPECT_LT(worst, 2 * std::numeric_limits<double>::epsilon());
  EXPECT_EQ(exact_exp(0), 1);
  EXPECT_EQ(exact_exp(-0.0), 1);
  EXPECT_GT(exact_exp(-708), 0);
  EXPECT_EQ(exact_exp(-709), 0);
  EXPECT_EQ(exact_exp(-std::numeric_limits<double>::infinity()), 0);
}

}  // namespace
}  // namespace fathom
