#include "engine/step_costs.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(StepCosts, IsThePriorUntilSomethingIsObserved) {
  const StepCosts costs(10, 2);
  EXPECT_FALSE(costs.has_observations());
  EXPECT_DOUBLE_EQ(costs.predict(1), 12);
  EXPECT_DOUBLE_EQ(costs.predict(100), 210);
}

TEST(StepCosts, GoesThroughWhatWasObserved) {
  StepCosts costs(10, 2);
  costs.observe(1, 0.5);
  EXPECT_DOUBLE_EQ(costs.predict(1), 0.5);
  EXPECT_DOUBLE_EQ(costs.predict(7), 0.5 * 24 / 12) << "the prior's shape";
  for (int i = 0; i < 3; ++i) costs.observe(9, 1.3);
  EXPECT_DOUBLE_EQ(costs.predict(9), 1.3);
  EXPECT_DOUBLE_EQ(costs.predict(5), 0.9);
}

TEST(StepCosts, ForgetsOldSteps) {
  StepCosts costs(1, 1);
  for (int i = 0; i < 100; ++i) costs.observe(4, 1);
  for (int i = 0; i < 200; ++i) costs.observe(4, 3);
  EXPECT_NEAR(costs.predict(4), 3, 0.01);
}

TEST(StepCosts, AFewSlowStepsCountForNothing) {
  StepCosts costs(1, 1);
  for (int i = 0; i < 20; ++i) costs.observe(4, i % 3 == 0 ? 50 : 1);
  EXPECT_DOUBLE_EQ(costs.predict(4), 1);
}

// A first step of its size that is slow, and steps of long ago, are believed no more than the prior.
TEST(StepCosts, DoubtsWhatItHasSeenLittleOfOrLongAgo) {
  StepCosts costs(1, 1);
  for (int i = 0; i < 3; ++i) costs.observe(1, 1);
  costs.observe(3, 100);
  EXPECT_DOUBLE_EQ(costs.predict(3), 2);
  costs.observe(3, 100);
  EXPECT_DOUBLE_EQ(costs.predict(3), 2);
  costs.observe(3, 100);
  EXPECT_DOUBLE_EQ(costs.predict(3), 100);
  for (int i = 0; i < 300; ++i) costs.observe(1, 1);
  EXPECT_DOUBLE_EQ(costs.predict(3), 2);
  costs.observe(3, 100);
  EXPECT_DOUBLE_EQ(costs.predict(3), 100) << "as before";
}

TEST(StepCosts, NeverGetsCheaperWithMoreTokens) {
  StepCosts costs(1, 0.1);
  for (int i = 0; i < 3; ++i) costs.observe(4, 2);
  for (int i = 0; i < 3; ++i) costs.observe(8, 1);
  double before = 0;
  for (int64_t tokens = 4; tokens < 8; ++tokens) {
    EXPECT_GE(costs.predict(tokens), before);
    before = costs.predict(tokens);
  }
}

TEST(BalancedStepTokens, GrowsUntilTheFixedCostIsSmall) {
  StepCosts costs(8, 1);
  EXPECT_EQ(balanced_step_tokens(costs, 0.2, 16, 4096), 4096) << "nothing known";
  costs.observe(1, 9);
  // 9 <= 0.2 (8 + n) from n = 37 on.
  EXPECT_EQ(balanced_step_tokens(costs, 0.2, 16, 4096), 64);
  EXPECT_EQ(balanced_step_tokens(costs, 0.2, 16, 32), 32);
  EXPECT_EQ(balanced_step_tokens(costs, 0.5, 128, 4096), 128);
}

}  // namespace
}  // namespace fathom
