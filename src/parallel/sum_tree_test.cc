#include "parallel/sum_tree.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace fathom {
namespace {

// The definition of sum_tree.h, one element at a time.
float recursive_sum(const std::vector<std::vector<float>>& values, size_t element, size_t begin, size_t end) {
  if (end - begin == 1) return values[begin][element];
  size_t half = 1;
  while (half * 2 < end - begin) half *= 2;
  return recursive_sum(values, element, begin, begin + half) +
         recursive_sum(values, element, begin + half, end);
}

std::vector<std::vector<float>> random_values(size_t num_ranks, size_t count) {
  std::mt19937 random(static_cast<unsigned>(num_ranks * 1000 + count));
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> values(num_ranks, std::vector<float>(count));
  for (auto& rank : values)
    for (float& value : rank) value = normal(random) * std::ldexp(1.0f, static_cast<int>(random() % 20));
  return values;
}

std::vector<const float*> pointers(const std::vector<std::vector<float>>& values) {
  std::vector<const float*> all;
  for (const auto& rank : values) all.push_back(rank.data());
  return all;
}

TEST(SumTree, AddsInItsOrderBitForBit) {
  for (int num_ranks : {1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 64}) {
    std::vector<TreeBranch> leaves;
    for (int i = 0; i < num_ranks; ++i) leaves.push_back({i, i + 1});
    const SumTree tree(leaves);
    for (size_t count : {0, 1, 3, 16, 255, 256, 257, 1000}) {
      const auto values = random_values(static_cast<size_t>(num_ranks), count);
      std::vector<float> sum(count + 1, 42.0f);
      tree.sum(pointers(values), static_cast<int64_t>(count), sum.data());
      for (size_t i = 0; i < count; ++i)
        ASSERT_EQ(sum[i], recursive_sum(values, i, 0, values.size())) << num_ranks << " ranks, element " << i;
      EXPECT_EQ(sum[count], 42.0f);
    }
  }
}

TEST(SumTree, SixteenRanksAreTwoTimesEight) {
  const auto values = random_values(16, 100);
  for (size_t i = 0; i < 100; ++i)
    EXPECT_EQ(recursive_sum(values, i, 0, 16),
              recursive_sum(values, i, 0, 8) + recursive_sum(values, i, 8, 16));
}

TEST(TreePieces, AreTheLargestBranchesInOneNode) {
  using Pieces = std::vector<TreeBranch>;
  EXPECT_EQ(tree_pieces({0, {0}}), (Pieces{{0, 1}}));
  EXPECT_EQ(tree_pieces({0, {0, 0, 0}}), (Pieces{{0, 3}}));
  EXPECT_EQ(tree_pieces({0, {0, 0, 1, 1}}), (Pieces{{0, 2}, {2, 4}}));
  EXPECT_EQ(tree_pieces({0, {0, 1, 0, 1}}), (Pieces{{0, 1}, {1, 2}, {2, 3}, {3, 4}}));
  // Three ranks a node: the branches of four do not fit them.
  EXPECT_EQ(tree_pieces({0, {0, 0, 0, 1, 1, 1}}), (Pieces{{0, 2}, {2, 3}, {3, 4}, {4, 6}}));
}

}  // namespace
}  // namespace fathom
