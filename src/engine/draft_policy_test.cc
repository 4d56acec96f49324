#include "engine/draft_policy.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace fathom {
namespace {

// What `steps` steps cost with drafts that are right with this chance, over what as many tokens cost without.
double relative_cost(double chance, double per_draft, int64_t num_tokens, uint64_t seed) {
  const DraftPrices prices{.token_value = 1, .per_draft = per_draft};
  DraftPolicy policy;
  double cost = 0;
  uint64_t counter = 0;
  for (int64_t tokens = 0; tokens < num_tokens;) {
    const int64_t num_drafts = policy.choose(DraftPolicy::kMaxDrafts, 3, prices);
    int64_t num_accepted = 0;
    while (num_accepted < num_drafts && random_uniform(seed, counter++) < chance) ++num_accepted;
    policy.record(num_drafts, num_accepted, prices);
    cost += 1 + per_draft * static_cast<double>(num_drafts);
    tokens += 1 + num_accepted;
  }
  return cost / static_cast<double>(num_tokens);
}

TEST(DraftPolicy, NeverLosesMoreThanItsShare) {
  for (const double per_draft : {0.01, 0.1, 0.3, 0.45, 1.0}) {
    for (const int64_t num_tokens : {1, 10, 100, 1000}) {
      EXPECT_LE(relative_cost(0, per_draft, num_tokens, 1), 1 + DraftPolicy::kMaxLoss + 1e-9)
          << per_draft << " " << num_tokens;
    }
  }
}

TEST(DraftPolicy, GainsWhereDraftsAreRight) {
  EXPECT_LT(relative_cost(1, 0.3, 1000, 2), 0.45);
  EXPECT_LT(relative_cost(0.9, 0.3, 1000, 3), 0.75);
  EXPECT_LT(relative_cost(1, 0.05, 1000, 4), 0.15);
}

// Right for a while, then wrong for ever: the gains before may be spent in part, not more.
TEST(DraftPolicy, ForgetsQuicklyWhatNoLongerHolds) {
  const DraftPrices prices{.token_value = 1, .per_draft = 0.3};
  DraftPolicy policy;
  for (int i = 0; i < 100; ++i) {
    const int64_t n = policy.choose(15, 3, prices);
    policy.record(n, n, prices);
  }
  EXPECT_GT(policy.choose(15, 3, prices), 3);
  double lost = 0;
  for (int i = 0; i < 100; ++i) {
    const int64_t n = policy.choose(15, 3, prices);
    policy.record(n, 0, prices);
    lost += 0.3 * static_cast<double>(n);
  }
  EXPECT_LE(lost, 4 + 100 * DraftPolicy::kMaxLoss);
}

TEST(DraftPolicy, DraftsNothingThatCannotPay) {
  const DraftPrices prices{.token_value = 1, .per_draft = 1.5};
  DraftPolicy policy;
  for (int i = 0; i < 1000; ++i) policy.record(0, 0, prices);
  EXPECT_GT(policy.account(), 1.5);
  EXPECT_EQ(policy.choose(15, 100, prices), 0);
}

}  // namespace
}  // namespace fathom
