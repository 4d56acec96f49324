#include "engine/draft_policy.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace fathom {
namespace {

constexpr double kMostSaved = 4;

// A sequence whose steps take 1 and one draft more per_draft, as a drafter sees it.
struct Drafting {
  DraftPrices prices;
  DraftPolicy policy;
  DraftAccount account;

  explicit Drafting(double per_draft)
      : prices{.token_value = 1, .per_draft = per_draft, .hoped = per_draft} {}
  int64_t choose() const { return policy.choose(DraftPolicy::kMaxDrafts, 3, prices, account.balance()); }
  // What the drafts cost.
  double record(int64_t num_drafts, int64_t num_accepted) {
    const double cost = prices.per_draft * static_cast<double>(num_drafts);
    policy.record(num_drafts, num_accepted);
    account.spend(cost);
    account.earn(1, static_cast<double>(num_accepted), kMostSaved);
    return cost;
  }
};

// What `num_tokens` tokens cost with drafts that are right with this chance, over what they cost without.
double relative_cost(double chance, double per_draft, int64_t num_tokens, uint64_t seed) {
  Drafting drafting(per_draft);
  double cost = 0;
  uint64_t counter = 0;
  for (int64_t tokens = 0; tokens < num_tokens;) {
    const int64_t num_drafts = drafting.choose();
    int64_t num_accepted = 0;
    while (num_accepted < num_drafts && random_uniform(seed, counter++) < chance) ++num_accepted;
    cost += 1 + drafting.record(num_drafts, num_accepted);
    tokens += 1 + num_accepted;
  }
  return cost / static_cast<double>(num_tokens);
}

TEST(DraftPolicy, NeverLosesMoreThanItsShare) {
  for (const double per_draft : {0.01, 0.1, 0.3, 0.45, 1.0}) {
    for (const int64_t num_tokens : {1, 10, 100, 1000}) {
      EXPECT_LE(relative_cost(0, per_draft, num_tokens, 1), 1 + DraftAccount::kMaxLoss + 1e-9)
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
  Drafting drafting(0.3);
  for (int i = 0; i < 100; ++i) {
    const int64_t n = drafting.choose();
    drafting.record(n, n);
  }
  EXPECT_GT(drafting.choose(), 3);
  double lost = 0;
  for (int i = 0; i < 100; ++i) lost += drafting.record(drafting.choose(), 0);
  EXPECT_LE(lost, kMostSaved + 101 * DraftAccount::kMaxLoss);
}

TEST(DraftPolicy, DraftsNothingThatCannotPay) {
  const Drafting drafting(1.5);
  EXPECT_EQ(drafting.policy.choose(15, 100, drafting.prices, 1e9), 0);
}

TEST(DraftAccount, KeepsSavingsToALimit) {
  DraftAccount account;
  account.earn(1, 10, 4);
  EXPECT_DOUBLE_EQ(account.balance(), 4);
  account.earn(1, 10, 3);  // a limit that has fallen takes nothing away
  EXPECT_DOUBLE_EQ(account.balance(), 4);
  account.spend(6);
  account.earn(50, 1, 4);
  EXPECT_DOUBLE_EQ(account.balance(), -2 + 1 + 50 * DraftAccount::kMaxLoss);
}

}  // namespace
}  // namespace fathom
