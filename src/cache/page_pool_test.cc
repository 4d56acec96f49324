#include "cache/page_pool.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"
#include "cache/page_table.h"

namespace fathom {
namespace {

TEST(PagePool, HandsOutEveryPageOnce) {
  PagePool pool(5, 16);
  EXPECT_EQ(pool.capacity(), 80);
  std::set<PageId> pages;
  for (int i = 0; i < 5; ++i) pages.insert(pool.allocate().value());
  EXPECT_EQ(pages, (std::set<PageId>{0, 1, 2, 3, 4}));
  EXPECT_EQ(pool.num_free(), 0);
  EXPECT_FALSE(pool.allocate().has_value());
  for (PageId page : pages) pool.release(page);
  EXPECT_EQ(pool.num_used(), 0);
}

TEST(PagePool, PagesForTokens) {
  PagePool pool(1, 16);
  EXPECT_EQ(pool.num_pages_for(0), 0);
  EXPECT_EQ(pool.num_pages_for(1), 1);
  EXPECT_EQ(pool.num_pages_for(16), 1);
  EXPECT_EQ(pool.num_pages_for(17), 2);
  EXPECT_EQ(PagePool(1).block_size(), 128);
}

TEST(PagePool, PageWithTwoHoldersIsFreeAfterTheSecond) {
  PagePool pool(1);
  const PageId page = pool.allocate().value();
  pool.retain(page);
  pool.release(page);
  EXPECT_EQ(pool.num_free(), 0);
  pool.release(page);
  EXPECT_EQ(pool.num_free(), 1);
}

TEST(PagePool, IntegrityNamesTheWrongPage) {
  PagePool pool(3);
  const PageId page = pool.allocate().value();
  EXPECT_TRUE(pool.check_integrity(std::vector<PageId>{page}).ok());
  EXPECT_FALSE(pool.check_integrity({}).ok());
  EXPECT_FALSE(pool.check_integrity(std::vector<PageId>{page, page}).ok());
  EXPECT_FALSE(pool.check_integrity(std::vector<PageId>{page, page + 1}).ok());
  EXPECT_FALSE(pool.check_integrity(std::vector<PageId>{page, 3}).ok());
  pool.release(page);
  EXPECT_TRUE(pool.check_integrity({}).ok());
}

// Blank pages are taken first, the one freed last before the others; then kept ones, the longest unused
// first.
TEST(PagePool, KeptContentGoesLast) {
  PagePool pool(4);
  std::vector<PageId> evicted;
  pool.set_eviction_listener([&](PageId page) { evicted.push_back(page); });
  for (PageId page = 0; page < 4; ++page) ASSERT_EQ(pool.allocate(), page);
  pool.set_content(2, PageContent::kKept);
  pool.set_content(0, PageContent::kKept);
  for (PageId page : {2, 1, 0, 3}) pool.release(page);
  EXPECT_EQ(pool.num_free(), 4);
  EXPECT_TRUE(pool.check_integrity({}).ok());
  EXPECT_EQ(pool.allocate(), 3);
  EXPECT_EQ(pool.allocate(), 1);
  EXPECT_TRUE(evicted.empty());
  EXPECT_EQ(pool.allocate(), 2);
  EXPECT_EQ(evicted, std::vector<PageId>{2});
  EXPECT_EQ(pool.content(2), PageContent::kBlank);
  EXPECT_EQ(pool.allocate(), 0);
  EXPECT_EQ(pool.num_evictions(), 2);
  for (PageId page = 0; page < 4; ++page) pool.release(page);
}

// A free page with content can be held again, and is used most recently when it comes back.
TEST(PagePool, KeptPagesComeBackToUse) {
  PagePool pool(3);
  for (PageId page = 0; page < 3; ++page) {
    ASSERT_EQ(pool.allocate(), page);
    pool.set_content(page, PageContent::kKept);
  }
  for (PageId page = 0; page < 3; ++page) pool.release(page);
  pool.retain(0);
  EXPECT_EQ(pool.num_free(), 2);
  pool.retain(0);
  pool.release(0);
  EXPECT_EQ(pool.num_free(), 2);
  pool.release(0);
  for (PageId page : {1, 2, 0}) EXPECT_EQ(pool.allocate(), page);
  for (PageId page = 0; page < 3; ++page) pool.release(page);
}

TEST(PagePool, APageThatTurnsBlankIsTakenNext) {
  PagePool pool(3);
  for (PageId page = 0; page < 3; ++page) {
    ASSERT_EQ(pool.allocate(), page);
    pool.set_content(page, PageContent::kKept);
  }
  for (PageId page = 0; page < 3; ++page) pool.release(page);
  pool.set_content(1, PageContent::kBlank);
  EXPECT_TRUE(pool.check_integrity({}).ok());
  EXPECT_EQ(pool.allocate(), 1);
  EXPECT_EQ(pool.num_evictions(), 0);
  pool.release(1);
}

TEST(PagePoolDeathTest, OurOwnMistakesAbort) {
  EXPECT_DEATH(PagePool(0), "num_pages 0");
  EXPECT_DEATH(
      {
        PagePool pool(2);
        pool.release(1);
      },
      "page 1 is free");
  EXPECT_DEATH(
      {
        PagePool pool(2);
        pool.retain(2);
      },
      "page 2 of 2");
  EXPECT_DEATH(
      {
        PagePool pool(2);
        pool.set_content(1, PageContent::kKept);
      },
      "page 1 is free");
  EXPECT_DEATH(
      {
        PagePool pool(2);
        (void)pool.allocate();
      },
      "1 of 2 pages still held");
}

TEST(PageTable, GrowsAllOrNothing) {
  PagePool pool(3, 4);
  PageTable first(pool);
  PageTable second(pool);
  EXPECT_TRUE(first.grow(0));
  EXPECT_EQ(first.capacity(), 0);
  EXPECT_TRUE(first.grow(5));
  EXPECT_EQ(first.capacity(), 8);
  EXPECT_TRUE(first.grow(8));
  EXPECT_TRUE(first.grow(1));  // never shrinks
  EXPECT_EQ(first.pages().size(), 2u);
  EXPECT_FALSE(second.grow(5));
  EXPECT_EQ(second.capacity(), 0);
  EXPECT_EQ(pool.num_free(), 1);
  first.release();
  EXPECT_TRUE(second.grow(12));
  EXPECT_EQ(pool.num_free(), 0);
}

// The last page goes first, so that a kept prefix outlives what follows it.
TEST(PageTable, SharesAndGivesBackFromTheEnd) {
  PagePool pool(4, 4);
  PageTable first(pool), second(pool);
  ASSERT_TRUE(first.grow(12));
  for (PageId page : first.pages()) pool.set_content(page, PageContent::kKept);
  second.share(0);
  ASSERT_TRUE(second.grow(5));
  EXPECT_EQ(second.pages()[1], 3);
  first.shrink(9);
  EXPECT_EQ(first.pages().size(), 3u);
  first.shrink(8);
  EXPECT_EQ(first.pages().size(), 2u);
  first.release();
  EXPECT_EQ(pool.num_holders(0), 1);
  second.release();
  for (PageId page : {3, 2, 1, 0}) EXPECT_EQ(pool.allocate(), page);
  for (PageId page = 0; page < 4; ++page) pool.release(page);
}

TEST(PageTable, SlotsOfAllTablesAreDistinct) {
  PagePool pool(6, 3);
  PageTable tables[2] = {PageTable(pool), PageTable(pool)};
  for (int64_t length = 1; length <= 9; ++length) {
    for (PageTable& table : tables) ASSERT_TRUE(table.grow(length));
  }
  std::set<int64_t> slots;
  for (const PageTable& table : tables) {
    for (int64_t position = 0; position < 9; ++position) {
      const int64_t slot = table.slot(position);
      EXPECT_EQ(slot / 3, table.pages()[static_cast<size_t>(position / 3)]);
      EXPECT_EQ(slot % 3, position % 3);
      slots.insert(slot);
    }
  }
  EXPECT_EQ(slots.size(), 18u);
  EXPECT_EQ(*slots.rbegin(), 17);
}

// Random growing and releasing over several tables; the recount agrees after every operation.
TEST(PageTable, RandomUseKeepsTheCounts) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    PagePool pool(1 + static_cast<int32_t>(random_bits(seed, 0) % 12), 4);
    std::vector<std::unique_ptr<PageTable>> tables;
    for (int i = 0; i < 4; ++i) tables.push_back(std::make_unique<PageTable>(pool));
    for (uint64_t step = 1; step < 100; ++step) {
      const uint64_t bits = random_bits(seed, step);
      PageTable& table = *tables[bits % 4];
      if (bits / 4 % 3 == 0) {
        table.release();
      } else {
        const int64_t length = static_cast<int64_t>(bits / 16 % 40);
        const int64_t before = table.capacity();
        const bool fits = pool.num_pages_for(length) * 4 <= before + int64_t{pool.num_free()} * 4;
        ASSERT_EQ(table.grow(length), fits) << "seed " << seed << " step " << step;
        ASSERT_EQ(table.capacity(), fits ? std::max(before, pool.num_pages_for(length) * 4) : before);
      }
      std::vector<PageId> held;
      for (const auto& each : tables) held.insert(held.end(), each->pages().begin(), each->pages().end());
      const Status status = pool.check_integrity(held);
      ASSERT_TRUE(status.ok()) << "seed " << seed << " step " << step << ": " << status.message();
    }
  }
}

}  // namespace
}  // namespace fathom
