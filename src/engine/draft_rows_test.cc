#include "engine/draft_rows.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(DraftRows, KnowsWhatWasLearntInARow) {
  DraftRows rows(8, 4);
  const std::vector<PageId> pages = {5, 2, 7};
  EXPECT_EQ(rows.num_known(pages, 12), 0);
  rows.learn(pages, 0, 6);
  EXPECT_EQ(rows.num_known(pages, 12), 6);
  EXPECT_EQ(rows.num_known(pages, 5), 5) << "no further than the model";
  rows.learn(pages, 6, 9);
  EXPECT_EQ(rows.num_known(pages, 12), 9);
  // Another sequence shares the first page; its second is new.
  EXPECT_EQ(rows.num_known(std::vector<PageId>{5, 1}, 8), 4);
  EXPECT_EQ(rows.num_known({}, 8), 0);
}

TEST(DraftRows, ForgetsWhatTheModelWrites) {
  DraftRows rows(4, 4);
  const std::vector<PageId> pages = {0, 1, 2};
  rows.learn(pages, 0, 12);
  rows.forget(pages, 6, 9);
  EXPECT_EQ(rows.num_known(pages, 12), 6);
  rows.learn(pages, 6, 8);
  EXPECT_EQ(rows.num_known(pages, 12), 8) << "all of the third page is forgotten";
  rows.forget(pages, 0, 1);
  EXPECT_EQ(rows.num_known(pages, 12), 0);
}

TEST(DraftRows, FollowsCopies) {
  DraftRows rows(4, 4);
  rows.learn(std::vector<PageId>{0}, 0, 3);
  EXPECT_EQ(rows.copy({.from = 0, .to = 1, .num_tokens = 2}), 2);
  EXPECT_EQ(rows.num_known(std::vector<PageId>{1}, 4), 2);
  EXPECT_EQ(rows.copy({.from = 0, .to = 1, .num_tokens = 4}), 3);
  EXPECT_EQ(rows.copy({.from = 3, .to = 1, .num_tokens = 4}), 0);
  EXPECT_EQ(rows.num_known(std::vector<PageId>{1}, 4), 0);
}

}  // namespace
}  // namespace fathom
