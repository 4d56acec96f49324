#include "sample/weights.h"

#include <gtest/gtest.h>

#include <numeric>

#include "sample/sampler_test_support.h"

namespace fathom::testing {
namespace {

TEST(Weights, SideBySideAreThoseOneByOne) {
  for (const double temperature : {0.01, 0.7, 2.0, std::numeric_limits<double>::denorm_min()}) {
    const Weigher weigh(7.5f, temperature);
    std::vector<float> logits = {7.5f, -kInfinity, -0.0f, 0.0f, -kLargestFloat, 7.4999995f};
    for (uint64_t i = 0; i < 5001; ++i)
      logits.push_back(static_cast<float>(7.5 - 1500 * temperature * std::pow(random_uniform(2, i), 5)));
    for (const float floor : {-kLargestFloat, 0.0f, 7.4f}) {
      std::vector<double> weights(logits.size(), -1);
      fill_weights(logits, weigh, floor, weights.data());
      for (size_t i = 0; i < logits.size(); ++i)
        ASSERT_EQ(weights[i], logits[i] >= floor ? weigh(logits[i]) : 0) << logits[i];
      std::vector<double> groups;
      std::vector<int32_t> ids(logits.size());
      std::iota(ids.begin(), ids.end(), 0);
      const std::vector<double> sums = running_sums(ids, weights);
      EXPECT_EQ(sum_weights(logits, weigh, floor, groups), sums.back());
      for (uint64_t i = 0; i < 50; ++i) {
        const double target = random_uniform(4, i) * sums.back();
        EXPECT_EQ(find_in_weights(logits, weigh, floor, groups, target),
                  std::upper_bound(sums.begin(), sums.end(), target) - sums.begin());
      }
    }
  }
}

TEST(Weights, LeastLogitIsWhereTheShareBegins) {
  for (uint64_t i = 0; i < 2000; ++i) {
    const Weigher weigh(static_cast<float>(40 * random_uniform(5, i) - 20), 2 * random_uniform(6, i) + 1e-9);
    const double share = i % 10 == 0 ? 1 : std::pow(random_uniform(7, i), 4);
    const float least = least_logit(weigh, share);
    ASSERT_GE(weigh(least), share);
    ASSERT_LT(weigh(std::nextafter(least, -kInfinity)), share);
  }
  EXPECT_EQ(least_logit(Weigher(1, 1), 0), -kLargestFloat);
}

}  // namespace
}  // namespace fathom::testing
