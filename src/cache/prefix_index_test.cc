#include "cache/prefix_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/random.h"
#include "cache/page_table.h"

namespace fathom {
namespace {

using Tokens = std::vector<int32_t>;

class PrefixIndexTest : public ::testing::Test {
 protected:
  // Pages of four tokens; beginnings of two and more are copied.
  PrefixIndexTest() : pool_(8, 4), keys_(KeyedHash::create().value(), 4), index_(pool_, 2) {}

  // Pages with the latents of num_computed tokens, held by the table.
  void compute(PageTable& pages, const Tokens& tokens, int64_t num_computed, int64_t num_expanded = 0,
               std::string_view salt = "") {
    std::vector<PrefixKey> keys = {keys_.root(salt)};
    const TokenRun run{.tokens = tokens, .num_expanded = num_expanded};
    keys_.extend(keys, run);
    ASSERT_TRUE(pages.grow(num_computed));
    for (int64_t i = 0; i * 4 < num_computed; ++i)
      index_.insert(pages.pages()[static_cast<size_t>(i)], i, keys, run, num_computed);
    check();
  }

  PrefixMatch match(const Tokens& tokens, int64_t num_expanded = 0, std::string_view salt = "") {
    std::vector<PrefixKey> keys = {keys_.root(salt)};
    const TokenRun run{.tokens = tokens, .num_expanded = num_expanded};
    keys_.extend(keys, run);
    return index_.match(keys, run, static_cast<int64_t>(tokens.size()));
  }

  void check() {
    const Status status = index_.check_integrity();
    EXPECT_TRUE(status.ok()) << status.message();
  }

  PagePool pool_;
  PrefixKeys keys_;
  PrefixIndex index_;
};

TEST_F(PrefixIndexTest, FullPagesThenTheLongestBeginning) {
  PageTable pages(pool_);
  compute(pages, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 11);
  const PrefixMatch all = match({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  EXPECT_EQ(all.pages, (std::vector<PageId>{0, 1}));
  EXPECT_EQ(all.source, 2);
  EXPECT_EQ(all.num_copied, 3);
  EXPECT_EQ(all.num_tokens, 11);
  EXPECT_EQ(all.num_pages_free_before, 0);
  EXPECT_EQ(match({1, 2, 3, 4, 5, 6, 7, 0}).num_tokens, 7);  // of a full page, too
  EXPECT_EQ(match({1, 2, 3, 4, 5, 6}).num_tokens, 6);
  EXPECT_EQ(match({1, 2, 3, 4, 5}).num_tokens, 4);  // one token is not worth a copy
  EXPECT_EQ(match({1, 2, 3, 4, 0, 6, 7, 8}).num_tokens, 4);
  EXPECT_EQ(match({0, 2, 3, 4, 5, 6, 7, 8}).num_tokens, 0);
  EXPECT_EQ(match({5, 6, 7, 8}).num_tokens, 0);  // the same tokens elsewhere
  EXPECT_EQ(match({1, 2, 3, 4, 5, 6, 7, 8}, 0, "salt").num_tokens, 0);
}

TEST_F(PrefixIndexTest, FreePagesCount) {
  {
    PageTable pages(pool_);
    compute(pages, {1, 2, 3, 4, 5, 6, 7, 8}, 8);
  }
  EXPECT_EQ(match({1, 2, 3, 4, 5, 6, 7, 8}).num_pages_free_before, 2);
}

TEST_F(PrefixIndexTest, FormsOfAllTokensMustAgree) {
  PageTable pages(pool_);
  const Tokens tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  compute(pages, tokens, 8, 6);
  EXPECT_EQ(match(tokens, 6).num_tokens, 8);
  EXPECT_EQ(match(tokens, 6).pages.size(), 2u);
  EXPECT_EQ(match(tokens, 7).num_tokens, 6);
  EXPECT_EQ(match(tokens, 8).num_tokens, 6);
  EXPECT_EQ(match(tokens, 5).num_tokens, 4);  // one more is not worth a copy
  EXPECT_EQ(match(tokens, 3).num_tokens, 3);
  EXPECT_EQ(match(tokens, 0).num_tokens, 0);
}

TEST_F(PrefixIndexTest, APageGrowsUntilItIsFull) {
  PageTable pages(pool_);
  const Tokens tokens = {1, 2, 3, 4};
  for (int64_t num_computed : {1, 2, 3, 4}) {
    compute(pages, tokens, num_computed);
    EXPECT_EQ(pool_.content(0), num_computed < 2 ? PageContent::kBlank : PageContent::kKept);
    EXPECT_EQ(match(tokens).num_tokens, num_computed < 2 ? 0 : num_computed);
    EXPECT_EQ(match(tokens).pages.size(), num_computed == 4 ? 1u : 0u);
  }
}

TEST_F(PrefixIndexTest, TheSecondPageOfTheSameTokensIsNotKept) {
  PageTable first(pool_), second(pool_);
  compute(first, {1, 2, 3, 4}, 4);
  compute(second, {1, 2, 3, 4}, 2);
  EXPECT_EQ(pool_.content(1), PageContent::kKept);
  compute(second, {1, 2, 3, 4}, 4);
  EXPECT_EQ(pool_.content(1), PageContent::kBlank);
  first.release();
  second.release();
  EXPECT_EQ(match({1, 2, 3, 4}).pages, std::vector<PageId>{0});
}

TEST_F(PrefixIndexTest, EvictedPagesAreForgotten) {
  {
    PageTable pages(pool_);
    compute(pages, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 10);
  }
  PageTable others(pool_);
  for (const auto& [num_tokens, num_left] : {std::pair(20, 10), {24, 8}, {28, 4}, {32, 0}}) {
    ASSERT_TRUE(others.grow(num_tokens));
    check();
    EXPECT_EQ(match({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}).num_tokens, num_left);
  }
}

TEST_F(PrefixIndexTest, IntegrityNoticesWhatThePoolDoesNotKnow) {
  PageTable pages(pool_);
  compute(pages, {1, 2, 3, 4}, 4);
  pool_.set_content(0, PageContent::kBlank);
  EXPECT_FALSE(index_.check_integrity().ok());
  const Tokens tokens = {1, 2, 9, 4};
  EXPECT_FALSE(index_.check_page(0, 0, std::vector{keys_.root("")}, {.tokens = tokens}).ok());
}

TEST(PrefixIndex, LeavesThePoolBlank) {
  PagePool pool(2, 4);
  PageTable pages(pool);
  {
    PrefixKeys maker(KeyedHash::create().value(), 4);
    PrefixIndex index(pool, 1);
    ASSERT_TRUE(pages.grow(4));
    const Tokens tokens = {1, 2, 3, 4};
    std::vector<PrefixKey> keys = {maker.root("")};
    maker.extend(keys, {.tokens = tokens});
    index.insert(0, 0, keys, {.tokens = tokens}, 4);
    EXPECT_EQ(pool.content(0), PageContent::kKept);
  }
  EXPECT_EQ(pool.content(0), PageContent::kBlank);
}

// What a token is together with all before it: the same number where latents are the same.
std::vector<uint64_t> latents(const TokenRun& run) {
  std::vector<uint64_t> chain;
  uint64_t state = 0;
  for (size_t i = 0; i < run.tokens.size(); ++i) {
    const bool expanded = static_cast<int64_t>(i) < run.num_expanded;
    state = mix_bits(state ^ mix_bits(static_cast<uint64_t>(run.tokens[i]) * 2 + (expanded ? 1 : 0)));
    chain.push_back(state);
  }
  return chain;
}

// Random sequences of few different tokens, so that beginnings of all lengths are shared; what is found of
// each is held against a search through all pages, then its own pages join them.
class RandomUse {
 public:
  explicit RandomUse(uint64_t seed)
      : seed_(seed),
        block_size_(draw(1, 8)),
        min_copy_tokens_(draw(1, 3)),
        pool_(30, static_cast<int32_t>(block_size_)),
        keys_(KeyedHash::create().value(), block_size_),
        index_(pool_, min_copy_tokens_) {}

  void step() {
    Tokens tokens(static_cast<size_t>(draw(1, 24)));
    for (int32_t& token : tokens) token = draw(0, 9) == 0 ? 1 : 0;
    const auto size = static_cast<int64_t>(tokens.size());
    const TokenRun run{.tokens = tokens, .num_expanded = draw(0, 3) == 0 ? draw(0, size) : 0};
    std::vector<PrefixKey> keys = {keys_.root("")};
    keys_.extend(keys, run);
    const PrefixMatch match = index_.match(keys, run, size);
    const std::vector<uint64_t> chain = latents(run);
    check(match, chain);
    if (!::testing::Test::HasFatalFailure()) add(match, keys, run, chain);
  }

 private:
  struct Content {
    int64_t number = 0;
    std::vector<uint64_t> chain;  // up to the page's end
  };

  int64_t draw(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_bits(seed_, counter_++) % static_cast<uint64_t>(high - low + 1));
  }

  // Tokens of page `number` of a sequence that this page holds.
  int64_t num_same(PageId page, int64_t number, const std::vector<uint64_t>& chain) const {
    const Content& content = contents_.at(page);
    if (content.number != number) return 0;
    const auto end = std::mismatch(chain.begin(), chain.end(), content.chain.begin(), content.chain.end());
    return end.first - chain.begin() - number * block_size_;
  }

  void check(const PrefixMatch& match, const std::vector<uint64_t>& chain) const {
    const auto num_pages = static_cast<int64_t>(match.pages.size());
    for (int64_t i = 0; i < num_pages; ++i)
      ASSERT_GE(num_same(match.pages[static_cast<size_t>(i)], i, chain), block_size_);
    int64_t best = 0;
    for (const auto& [page, content] : contents_) {
      if (pool_.content(page) == PageContent::kKept) best = std::max(best, num_same(page, num_pages, chain));
    }
    ASSERT_LT(best, block_size_) << "a full page was not found";
    ASSERT_EQ(match.num_copied, best < min_copy_tokens_ ? 0 : best);
    ASSERT_EQ(match.source ? num_same(*match.source, num_pages, chain) : 0, match.num_copied);
    ASSERT_EQ(match.num_tokens, num_pages * block_size_ + match.num_copied);
  }

  void add(const PrefixMatch& match, std::span<const PrefixKey> keys, const TokenRun& run,
           const std::vector<uint64_t>& chain) {
    PageTable pages(pool_);
    for (PageId page : match.pages) pages.share(page);
    const auto size = static_cast<int64_t>(chain.size());
    ASSERT_TRUE(pages.grow(size));
    const auto num_shared = static_cast<int64_t>(match.pages.size());
    const int64_t num_computed = draw(num_shared * block_size_, size);
    for (int64_t i = num_shared; i * block_size_ < num_computed; ++i) {
      const PageId page = pages.pages()[static_cast<size_t>(i)];
      index_.insert(page, i, keys, run, num_computed);
      const int64_t end = std::min((i + 1) * block_size_, num_computed);
      contents_[page] = {.number = i, .chain = {chain.begin(), chain.begin() + end}};
    }
    const Status status = index_.check_integrity();
    ASSERT_TRUE(status.ok()) << status.message();
  }

  uint64_t seed_;
  uint64_t counter_ = 0;
  int64_t block_size_;
  int64_t min_copy_tokens_;
  PagePool pool_;
  PrefixKeys keys_;
  PrefixIndex index_;
  std::map<PageId, Content> contents_;
};

TEST(PrefixIndex, RandomUseFindsTheLongestBeginning) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    RandomUse use(seed);
    for (int step = 0; step < 60; ++step) {
      use.step();
      ASSERT_FALSE(HasFatalFailure()) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace fathom
