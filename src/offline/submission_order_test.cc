#include "offline/submission_order.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "base/random.h"

namespace fathom {
namespace {

using Prompts = std::vector<std::vector<int32_t>>;

SubmissionOrder order_of(const Prompts& prompts, const SharingRules& rules) {
  const std::vector<std::span<const int32_t>> spans(prompts.begin(), prompts.end());
  return SubmissionOrder(spans, rules);
}

// Tokens that say who they are: `shared` of the family, then its own.
std::vector<int32_t> prompt(int32_t family, size_t shared, int32_t own, size_t length) {
  std::vector<int32_t> tokens(length, own);
  std::fill_n(tokens.begin(), std::min(shared, length), family);
  return tokens;
}

TEST(SubmissionOrder, OneOfEachFamilyGoesFirst) {
  const Prompts prompts = {prompt(1, 10, 50, 20), prompt(2, 10, 51, 20), prompt(1, 10, 52, 20),
                           prompt(2, 10, 53, 20), prompt(3, 3, 54, 20)};
  SubmissionOrder order = order_of(prompts, {.min_tokens = 4});
  EXPECT_EQ(order.next(), 0u);
  EXPECT_EQ(order.next(), 1u);
  EXPECT_EQ(order.next(), 4u);
  EXPECT_EQ(order.next(), std::nullopt);
  order.computed(1);
  order.computed(1);
  EXPECT_EQ(order.next(), 3u);
  EXPECT_EQ(order.next(), std::nullopt);
  order.computed(0);
  EXPECT_EQ(order.next(), 2u);
  EXPECT_EQ(order.next(), std::nullopt);
}

TEST(SubmissionOrder, EqualPromptsWaitForTheFirst) {
  const Prompts prompts(3, prompt(1, 9, 2, 9));
  SubmissionOrder order = order_of(prompts, {.min_tokens = 9});
  EXPECT_EQ(order.leader(0), std::nullopt);
  EXPECT_EQ(order.leader(1), 0u);
  EXPECT_EQ(order.leader(2), 0u);
  EXPECT_EQ(order_of(prompts, {.min_tokens = 10}).leader(2), std::nullopt);
}

TEST(SubmissionOrder, ALittleMoreInCommonIsNotWaitedFor) {
  // All share 10 tokens, the last two 12.
  const Prompts prompts = {prompt(1, 10, -1, 20), prompt(1, 10, 0, 20), prompt(1, 12, 4, 20),
                           prompt(1, 12, 5, 20)};
  EXPECT_EQ(order_of(prompts, {.min_tokens = 3}).leader(3), 0u);
  EXPECT_EQ(order_of(prompts, {.min_tokens = 2}).leader(3), 2u);
  for (size_t i : {1u, 2u}) EXPECT_EQ(order_of(prompts, {.min_tokens = 2}).leader(i), 0u) << i;
}

TEST(SubmissionOrder, FormsShareNothing) {
  const Prompts prompts = {prompt(1, 10, 2, 30), prompt(1, 10, 3, 12)};
  EXPECT_EQ(order_of(prompts, {.min_tokens = 4, .expanded_prompt_tokens = 20}).leader(0), std::nullopt);
  EXPECT_EQ(order_of(prompts, {.min_tokens = 4}).leader(1), 0u);
}

TEST(SubmissionOrder, NoneIsThereToOrder) {
  SubmissionOrder order = order_of({}, {});
  EXPECT_EQ(order.next(), std::nullopt);
}

// Against the definition, on random prompts over two tokens, whatever order they end in.
TEST(SubmissionOrder, LeadersShareWhatTheNeighbourDoesAndEveryPromptGoesOnce) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const uint64_t key = random_key(seed, "order");
    const SharingRules rules{.min_tokens = 1 + random_bits(key, 0) % 4, .expanded_prompt_tokens = 9};
    Prompts prompts(random_bits(key, 1) % 40);
    for (size_t i = 0; i < prompts.size(); ++i) {
      prompts[i].resize(1 + random_bits(key, 100 + i) % 14);
      for (size_t j = 0; j < prompts[i].size(); ++j)
        prompts[i][j] = static_cast<int32_t>(random_bits(key, 1000 + 100 * i + j) % 8 == 0);
    }
    const auto shared = [&](size_t a, size_t b) -> size_t {
      if ((prompts[a].size() >= 9) != (prompts[b].size() >= 9)) return 0;
      size_t n = 0;
      while (n < std::min(prompts[a].size(), prompts[b].size()) && prompts[a][n] == prompts[b][n]) ++n;
      return n;
    };
    SubmissionOrder order = order_of(prompts, rules);
    std::set<size_t> gone;
    std::vector<size_t> under_way;
    for (size_t count = 0; gone.size() < prompts.size(); ++count) {
      while (const auto next = order.next()) {
        const auto leader = order.leader(*next);
        if (leader) {
          EXPECT_TRUE(gone.contains(*leader));
          EXPECT_GE(shared(*leader, *next), rules.min_tokens);
        }
        EXPECT_TRUE(gone.insert(*next).second);
        under_way.push_back(*next);
      }
      ASSERT_FALSE(under_way.empty()) << "seed " << seed;
      const size_t ends = random_bits(key, 500000 + count) % under_way.size();
      order.computed(under_way[ends]);
      under_way.erase(under_way.begin() + static_cast<ptrdiff_t>(ends));
    }
    // Of two that share enough, one waits for somebody.
    for (size_t a = 0; a < prompts.size(); ++a) {
      for (size_t b = 0; b < a; ++b) {
        if (shared(a, b) < rules.min_tokens) continue;
        EXPECT_TRUE(order.leader(a) || order.leader(b)) << "seed " << seed << ": " << a << " and " << b;
      }
    }
  }
}

}  // namespace
}  // namespace fathom
