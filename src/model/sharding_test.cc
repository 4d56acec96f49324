#include "model/sharding.h"

#include <gtest/gtest.h>

#include "checkpoint/known_configs.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

using testing::tiny_config;
using testing::tiny_grouped_config;

Sharding ranks_of(int64_t num_ranks, int64_t rank = 0) {
  return {.num_ranks = num_ranks, .rank = rank, .num_slices = num_ranks};
}

const WeightSpec& spec_of(const std::vector<WeightSpec>& table, WeightRole role) {
  return *std::find_if(table.begin(), table.end(), [&](const WeightSpec& spec) { return spec.role == role; });
}

TEST(Sharding, PartsFollowEachOtherAndTheFirstIsLargest) {
  for (int64_t size : {1, 7, 32, 37, 1408, 10944}) {
    for (int64_t unit : {1, 5, 32}) {
      for (int64_t count : {1, 2, 3, 16}) {
        int64_t end = 0;
        for (int64_t i = 0; i < count; ++i) {
          const IndexRange part = even_part(size, unit, i, count);
          EXPECT_EQ(part.begin, end);
          EXPECT_TRUE(part.begin % unit == 0 || part.begin == size) << size << " " << unit << " " << i;
          EXPECT_LE(part.size(), even_part(size, unit, 0, count).size());
          end = part.end;
        }
        EXPECT_EQ(end, size);
      }
    }
  }
}

TEST(Sharding, WidthsOfTheLiteModelOnSixteenRanks) {
  const ModelConfig lite = *known_config("deepseek-v2-lite");
  const auto table = weight_table(lite);
  const auto last = [&](WeightRole role, Sharding sharding) {
    return slice_of(spec_of(table, role), lite, sharding, {15, 16});
  };
  const Sharding sixteen = ranks_of(16, 15);
  EXPECT_EQ(last(WeightRole::kExpertUp, sixteen).rows.size(), 88);
  EXPECT_EQ(last(WeightRole::kExpertDown, sixteen).cols.size(), 88);
  EXPECT_EQ(last(WeightRole::kDenseDown, sixteen).cols.begin, 15 * 684);
  EXPECT_EQ(last(WeightRole::kQProj, sixteen).rows.begin, 15 * 192);
  EXPECT_EQ(last(WeightRole::kOProj, sixteen).cols.begin, 15 * 128);
  EXPECT_EQ(last(WeightRole::kKvBProj, sixteen).rows.size(), 256);
  EXPECT_EQ(last(WeightRole::kKvAProj, sixteen).rows.size(), 576);
  EXPECT_EQ(last(WeightRole::kLmHead, sixteen).rows.size(), 6400);
  Sharding int4 = sixteen;
  int4.width_unit = 32;  // 44 units of 32: twelve slices of three, four of two
  EXPECT_EQ(last(WeightRole::kExpertDown, int4).cols.begin, 1408 - 64);
  Sharding whole = sixteen;
  whole.num_expert_groups = 16;
  EXPECT_EQ(last(WeightRole::kExpertDown, whole).num_elements(), 0);  // expert 0 is rank 0's
}

// Every element of a weight belongs to one rank, or to all where it is not shared.
void expect_covered(const WeightSpec& spec, const ModelConfig& config, Sharding sharding) {
  const int64_t cols = spec.shape.rank() == 2 ? spec.shape[1] : 1;
  std::vector<int> owners(static_cast<size_t>(spec.shape.num_elements()), 0);
  int64_t most = 0;
  for (sharding.rank = 0; sharding.rank < sharding.num_ranks; ++sharding.rank) {
    const int64_t elements = rank_elements(spec, config, sharding);
    if (sharding.rank == 0) most = elements;
    if (spec.expert < 0 || sharding.num_expert_groups == 1) {
      EXPECT_LE(elements, most) << spec.name;
    }
    for (int64_t i = sharding.slices().begin; i < sharding.slices().end; ++i) {
      const TensorSlice slice = slice_of(spec, config, sharding, {i, i + 1});
      for (int64_t row = slice.rows.begin; row < slice.rows.end; ++row)
        for (int64_t col = slice.cols.begin; col < slice.cols.end; ++col)
          ++owners[static_cast<size_t>(row * cols + col)];
    }
  }
  const int expected = spec.shard_axis == ShardAxis::kNone ? static_cast<int>(sharding.num_slices) : 1;
  for (size_t i = 0; i < owners.size(); ++i) ASSERT_EQ(owners[i], expected) << spec.name << " at " << i;
}

TEST(Sharding, RanksTogetherHaveTheWhole) {
  ModelConfig odd = tiny_grouped_config();
  odd.num_attention_heads = 16;
  odd.vocab_size = 43;
  odd.moe_intermediate_size = 11;  // fewer than slices
  for (const ModelConfig& config : {tiny_config(), odd}) {
    for (int64_t num_ranks : {1, 2, 4, 8, 16}) {
      for (int64_t per_rank : {1, 2}) {
        for (int64_t groups : {1, 2}) {
          Sharding sharding{
              .num_ranks = num_ranks, .num_slices = num_ranks * per_rank, .num_expert_groups = groups};
          if (!check_sharding(config, sharding).ok()) continue;
          for (const WeightSpec& spec : weight_table(config)) expect_covered(spec, config, sharding);
          sharding.width_unit = 32;
          for (const WeightSpec& spec : weight_table(config)) expect_covered(spec, config, sharding);
        }
      }
    }
  }
}

TEST(Sharding, SlicesDoNotDependOnRanks) {
  ModelConfig config = tiny_config();
  config.num_attention_heads = 16;
  for (const WeightSpec& spec : weight_table(config)) {
    for (int64_t slice = 0; slice < 16; ++slice) {
      const TensorSlice one = slice_of(spec, config, {.num_slices = 16}, {slice, slice + 1});
      const TensorSlice four =
          slice_of(spec, config, {.num_ranks = 4, .rank = slice / 4, .num_slices = 16}, {slice, slice + 1});
      EXPECT_EQ(one.rows.begin, four.rows.begin);
      EXPECT_EQ(one.cols.end, four.cols.end);
    }
  }
}

TEST(Sharding, ASequencesHomeHasWholeAttention) {
  const ModelConfig config = tiny_config();
  for (const AttentionShare attention : {AttentionShare::kSequences, AttentionShare::kSlicedSequences}) {
    const Sharding sharding{.num_ranks = 2, .rank = 1, .num_slices = 2, .attention = attention};
    EXPECT_EQ(sharding.num_homes(), 2);
    EXPECT_EQ(sharding.rank_heads(config), config.num_attention_heads);
    const bool sliced = attention == AttentionShare::kSlicedSequences;
    EXPECT_EQ(sharding.head_slices().size(), sliced ? 2 : 1);
    for (const WeightSpec& spec : weight_table(config)) {
      const bool by_heads = spec.role == WeightRole::kQProj || spec.role == WeightRole::kQBProj ||
                            spec.role == WeightRole::kKvBProj || spec.role == WeightRole::kOProj;
      const bool is_whole = by_heads || spec.shard_axis == ShardAxis::kNone;
      EXPECT_EQ(rank_elements(spec, config, sharding) == spec.shape.num_elements(), is_whole) << spec.name;
      if (spec.role == WeightRole::kOProj) {
        EXPECT_EQ(slice_of(spec, config, sharding, {0, 1}).cols.size(), spec.shape[1] / (sliced ? 2 : 1));
      }
    }
  }
  // The widths of a third rank, but no heads to divide among three.
  EXPECT_TRUE(
      check_sharding(config, {.num_ranks = 3, .num_slices = 3, .attention = AttentionShare::kSequences})
          .ok());
  EXPECT_EQ(
      check_sharding(config, {.num_ranks = 3, .num_slices = 3, .attention = AttentionShare::kSlicedSequences})
          .message(),
      "--tp: 3 does not divide num_attention_heads 2");
}

TEST(Sharding, RefusesWhatDoesNotFit) {
  const auto message = [](const Sharding& sharding) {
    return check_sharding(tiny_config(), sharding).message();
  };
  EXPECT_TRUE(check_sharding(tiny_config(), ranks_of(2)).ok());
  EXPECT_EQ(message(ranks_of(4)), "--tp: 4 does not divide num_attention_heads 2");
  EXPECT_EQ(message({.num_slices = 4}), "--slices: 4 does not divide num_attention_heads 2");
  EXPECT_EQ(message({.num_ranks = 2, .num_slices = 6}),
            "--slices: 6 is not the 2 ranks times a power of two");
  EXPECT_EQ(message({.num_ranks = 2, .num_slices = 1}),
            "--slices: 1 is not the 2 ranks times a power of two");
  EXPECT_EQ(message({.num_ranks = 2, .num_slices = 2, .num_expert_groups = 3}),
            "--moe-ep: 3 does not divide the 2 slices");
  ModelConfig small = tiny_config();
  small.vocab_size = 1;
  EXPECT_EQ(check_sharding(small, ranks_of(2)).message(), "--tp: 2 is over vocab_size 1");
}

}  // namespace
}  // namespace fathom
