#include "text/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "text/byte_alphabet.h"
#include "text/tiny_tokenizer.h"

namespace fathom {
namespace {

using Pair = std::pair<std::string, std::string>;

// A vocabulary of bytes "a".."e" and the merges' results, with the same merging done naively beside it.
class Merging {
 public:
  explicit Merging(const std::vector<Pair>& pairs) : table_(pairs.size()) {
    std::vector<Vocabulary::Token> tokens;
    const auto add = [&](const std::string& text) {
      if (ids_.emplace(text, static_cast<int32_t>(tokens.size())).second) tokens.push_back({text, true});
    };
    for (const char c : std::string("abcde")) add(std::string(1, c));
    for (const auto& [left, right] : pairs) add(left + right);
    vocabulary_ = std::make_unique<Vocabulary>(Vocabulary::create(std::move(tokens)).value());
    for (const auto& [left, right] : pairs) {
      if (table_.add(ids_[left], ids_[right], ids_[left + right])) {
        ranks_.emplace(Pair(left, right), static_cast<int>(ranks_.size()));
      }
    }
    bpe_ = std::make_unique<Bpe>(*vocabulary_, table_, Bpe::WholePieces::kWhereMergesAgree);
  }

  std::vector<int32_t> naive(const std::string& piece) const {
    std::vector<std::string> parts;
    for (const char c : piece) parts.emplace_back(1, c);
    while (true) {
      size_t best = parts.size();
      int best_rank = 1 << 30;
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto found = ranks_.find({parts[i], parts[i + 1]});
        if (found == ranks_.end() || found->second >= best_rank) continue;
        best = i;
        best_rank = found->second;
      }
      if (best == parts.size()) break;
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    std::vector<int32_t> ids;
    for (const std::string& part : parts) ids.push_back(ids_.at(part));
    return ids;
  }

  std::vector<int32_t> encode(const std::string& piece) {
    std::vector<int32_t> ids;
    bpe_->encode(piece, scratch_, ids);
    return ids;
  }
  std::vector<int32_t> encode_by_merging(const std::string& piece) {
    std::vector<int32_t> ids;
    bpe_->encode_by_merging(piece, scratch_, ids);
    return ids;
  }

  BpeScratch scratch_;

 private:
  std::map<std::string, int32_t> ids_;
  std::map<Pair, int> ranks_;
  std::unique_ptr<Vocabulary> vocabulary_;
  MergeTable table_;
  std::unique_ptr<Bpe> bpe_;
};

TEST(Bpe, LowestRankThenLeftmost) {
  Merging merging(std::vector<Pair>{{"b", "c"}, {"a", "b"}, {"a", "a"}});
  EXPECT_EQ(merging.encode("abc"), merging.naive("abc"));
  EXPECT_EQ(merging.encode("aaa").size(), 2u);  // "aa" "a"
  EXPECT_EQ(merging.encode("aaa").front(), 7);
  EXPECT_TRUE(merging.encode("").empty());
  EXPECT_EQ(merging.encode("d"), (std::vector<int32_t>{3}));
}

TEST(Bpe, ATokenThatMergesDoNotReachIsNoShortCut) {
  // "abc" is a token by ("a", "bc"), but "ab" is merged first.
  Merging merging(std::vector<Pair>{{"a", "b"}, {"b", "c"}, {"a", "bc"}});
  EXPECT_EQ(merging.encode("abc"), (std::vector<int32_t>{5, 2}));
}

TEST(Bpe, BytesWithoutATokenAddNothing) {
  Merging merging(std::vector<Pair>{{"a", "b"}});
  EXPECT_EQ(merging.encode("a?b"), (std::vector<int32_t>{5}));
  EXPECT_TRUE(merging.encode("???").empty());
}

TEST(Bpe, EqualsNaiveMerging) {
  constexpr unsigned kSeed = 11;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 60; ++round) {
    std::vector<Pair> pairs;
    std::vector<std::string> known = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < 40; ++i) {
      const std::string left = known[random() % known.size()];
      const std::string right = known[random() % known.size()];
      if (left.size() + right.size() > 12 ||
          std::find(pairs.begin(), pairs.end(), Pair(left, right)) != pairs.end())
        continue;
      pairs.emplace_back(left, right);
      known.push_back(left + right);
    }
    Merging merging(pairs);
    for (int i = 0; i < 50; ++i) {
      std::string piece;
      for (size_t n = random() % 40; n > 0; --n) piece += static_cast<char>('a' + random() % 5);
      ASSERT_EQ(merging.encode(piece), merging.naive(piece))
          << piece << " seed " << kSeed << " round " << round;
      ASSERT_EQ(merging.encode_by_merging(piece), merging.naive(piece)) << piece;
    }
  }
}

// Counted, not timed: each byte and each merge brings at most two candidates.
TEST(Bpe, WorkIsLinearInThePiece) {
  std::vector<Pair> pairs;
  for (std::string run = "a"; run.size() < 64; run += run) pairs.emplace_back(run, run);
  Merging merging(pairs);
  for (const size_t size : {1000u, 100'000u, 1'000'000u}) {
    merging.scratch_.num_candidates = 0;
    EXPECT_EQ(merging.encode(std::string(size, 'a')).size(),
              size / 64 + static_cast<size_t>(__builtin_popcount(size % 64)));
    EXPECT_LE(merging.scratch_.num_candidates, 3 * size);
  }
}

TEST(MergeTable, KnowsItsPairsOnly) {
  MergeTable table(3);
  EXPECT_TRUE(table.add(1, 2, 7));
  EXPECT_TRUE(table.add(2, 1, 8));
  EXPECT_FALSE(table.add(1, 2, 9));
  EXPECT_EQ(table.find(1, 2), 0);
  EXPECT_EQ(table.find(2, 1), 1);
  EXPECT_EQ(table.find(1, 1), -1);
  EXPECT_EQ(table.result(1), 8);
}

TEST(ByteAlphabet, IsABijection) {
  std::map<char32_t, int> seen;
  for (int b = 0; b < 256; ++b) {
    const char c = static_cast<char>(b);
    EXPECT_TRUE(seen.emplace(byte_symbol(static_cast<unsigned char>(b)), b).second);
    EXPECT_EQ(symbols_to_bytes(tiny::symbols({&c, 1})), std::string(1, c));
  }
  EXPECT_EQ(byte_symbol(' '), 0x120u);
  EXPECT_EQ(byte_symbol('\n'), 0x10Au);
  EXPECT_EQ(symbols_to_bytes("a\u4f60"), std::nullopt);
  EXPECT_EQ(symbols_to_bytes(" "), std::nullopt);
}

}  // namespace
}  // namespace fathom
