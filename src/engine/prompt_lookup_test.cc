#include "engine/prompt_lookup.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace fathom {
namespace {

using Tokens = std::vector<int32_t>;

Tokens drafts_after(const Tokens& tokens, int64_t count) {
  PromptLookup lookup;
  lookup.extend(tokens);
  Tokens drafts;
  const PromptLookup::Match match = lookup.find();
  if (match.length > 0) lookup.draft(match, count, drafts);
  return drafts;
}

TEST(PromptLookup, ContinuesWhatStoodBefore) {
  EXPECT_EQ(drafts_after({1, 2, 3, 4, 5, 6, 9, 2, 3, 4}, 3), (Tokens{5, 6, 9}));
  EXPECT_EQ(drafts_after({1, 2, 3, 4, 5, 9, 3, 4}, 3), Tokens()) << "two tokens are too few";
  EXPECT_EQ(drafts_after({}, 3), Tokens());
  EXPECT_EQ(drafts_after({1, 2}, 3), Tokens());
}

TEST(PromptLookup, PrefersTheLongerThenTheLaterAgreement) {
  // 7 1 2 3 -> 4 agrees in four tokens, the later 8 1 2 3 -> 5 in three.
  EXPECT_EQ(drafts_after({7, 1, 2, 3, 4, 8, 1, 2, 3, 5, 7, 1, 2, 3}, 1), Tokens{4});
  EXPECT_EQ(drafts_after({7, 1, 2, 3, 4, 8, 1, 2, 3, 5, 6, 1, 2, 3}, 1), Tokens{5});
}

TEST(PromptLookup, GoesOnWithALoop) {
  EXPECT_EQ(drafts_after({1, 2, 3, 1, 2, 3}, 5), (Tokens{1, 2, 3, 1, 2}));
  EXPECT_EQ(drafts_after({5, 5, 5, 5}, 4), (Tokens{5, 5, 5, 5}));
}

// Token by token or at once, and against a search through everything.
TEST(PromptLookup, FindsWhatASearchFinds) {
  uint64_t counter = 0;
  const auto draw = [&counter] { return random_bits(7, counter++); };
  for (int round = 0; round < 200; ++round) {
    Tokens tokens;
    PromptLookup stepwise;
    const auto size = static_cast<int64_t>(draw() % 60);
    for (int64_t i = 0; i < size; ++i) {
      tokens.push_back(static_cast<int32_t>(draw() % 3));
      stepwise.extend(tokens);
    }
    PromptLookup::Match best;
    // At most kMaxCandidates places in so short a text: more would not be looked at.
    for (int64_t end = size - 1, places = 0; end >= PromptLookup::kMinMatch && places < 16; --end) {
      int64_t length = 0;
      while (length < std::min(end, PromptLookup::kMaxMatch) &&
             tokens[static_cast<size_t>(end - 1 - length)] ==
                 tokens[static_cast<size_t>(size - 1 - length)]) {
        ++length;
      }
      if (length < PromptLookup::kMinMatch) continue;
      ++places;
      if (length > best.length) best = {length, end};
    }
    PromptLookup at_once;
    at_once.extend(tokens);
    for (const PromptLookup* lookup : {&stepwise, &at_once}) {
      EXPECT_EQ(lookup->find().length, best.length);
      EXPECT_EQ(lookup->find().next, best.next);
    }
  }
}

}  // namespace
}  // namespace fathom
