// Routing, the order of pairs, sums of experts' outputs and element by element operations on the emulated
// device.
#include <limits>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/linear_plan.h"
#include "kernels/test_support.h"

namespace fathom::kernels::cuda_emulated {
namespace {

struct RouterSizes {
  int64_t experts, per_token, groups, kept_groups;
};

constexpr int64_t kRoutedTokens = 11;

std::vector<float> random_logits(const RouterSizes& sizes) {
  Values values(static_cast<uint64_t>(sizes.experts));
  auto logits = strided(values, kRoutedTokens, sizes.experts, sizes.experts);
  for (float& logit : logits) logit *= 6;
  return logits;
}

void compare_router(const RouterSizes& sizes, RouterParams::Weights weights,
                    const std::vector<float>& logits) {
  const auto pairs = static_cast<size_t>(kRoutedTokens * sizes.per_token);
  std::vector<int32_t> got_ids(pairs, -1), want_ids(pairs, -1);
  std::vector<float> got(pairs, kNaN), want(pairs, kNaN);
  std::vector<float> scratch(static_cast<size_t>(sizes.experts + sizes.groups));
  RouterParams p{.logits = logits.data(),
                 .expert_ids = got_ids.data(),
                 .expert_weights = got.data(),
                 .num_experts = sizes.experts,
                 .experts_per_token = sizes.per_token,
                 .n_group = sizes.groups,
                 .topk_group = sizes.kept_groups,
                 .scaling = 16,
                 .weights = weights,
                 .end = kRoutedTokens};
  ASSERT_EQ(router(p, nullptr), 0);
  p.expert_ids = want_ids.data();
  p.expert_weights = want.data();
  p.scratch = scratch.data();
  ref::router(p);
  ASSERT_EQ(got_ids, want_ids) << "E " << sizes.experts << " groups " << sizes.groups;
  // Two sums of positive terms, two exponentials of error 2 units each.
  const double error = kEpsilon * (static_cast<double>(sizes.experts + sizes.per_token) / 16 + 24);
  for (size_t i = 0; i < pairs; ++i) {
    if (std::isnan(want[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << "pair " << i;
    } else {
      ASSERT_NEAR(got[i], want[i], error * std::abs(want[i])) << "pair " << i;
    }
  }
}

constexpr RouterSizes kRouterSizes[] = {{1, 1, 1, 1},   {7, 2, 1, 1},  {64, 6, 1, 1},
                                        {160, 6, 8, 3}, {12, 3, 4, 2}, {40, 8, 40, 9}};
constexpr RouterParams::Weights kBothWeights[] = {RouterParams::Weights::kScaled,
                                                  RouterParams::Weights::kNormalized};

TEST(CudaRouter, EqualsReference) {
  for (const RouterSizes& sizes : kRouterSizes) {
    const std::vector<float> logits = random_logits(sizes);
    std::vector<float> ties;  // small integers, so that most scores have equals
    for (float logit : logits) ties.push_back(std::nearbyint(logit / 3));
    for (RouterParams::Weights weights : kBothWeights)
      for (const auto& some : {logits, ties}) ASSERT_NO_FATAL_FAILURE(compare_router(sizes, weights, some));
  }
}

// Such a token's request fails alone: its ids are those of experts, and nothing of another token changes.
TEST(CudaRouter, TokensThatAreNotFinite) {
  for (const RouterSizes& sizes : kRouterSizes) {
    std::vector<float> logits = random_logits(sizes);
    const auto logit = [&](int64_t token, int64_t expert) -> float& {
      return logits[static_cast<size_t>(token * sizes.experts + expert)];
    };
    logit(0, 0) = kNaN;
    logit(5, sizes.experts - 1) = std::numeric_limits<float>::infinity();
    for (int64_t token : {6, 7})  // the last of a block's four
      for (int64_t e = 0; e < sizes.experts; ++e) logit(token, e) = kNaN;
    for (RouterParams::Weights weights : kBothWeights)
      ASSERT_NO_FATAL_FAILURE(compare_router(sizes, weights, logits));
  }
}

struct PlannedPairs {
  PlannedPairs(int64_t tokens, int64_t per_token, int64_t experts)
      : num_tokens(tokens), experts_per_token(per_token), num_experts(experts) {
    Values values(static_cast<uint64_t>(experts));
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<int32_t> own;
      while (static_cast<int64_t>(own.size()) < per_token) {
        const auto id = static_cast<int32_t>(values.below(experts));
        if (std::find(own.begin(), own.end(), id) == own.end()) own.push_back(id);
      }
      std::sort(own.begin(), own.end());
      ids.insert(ids.end(), own.begin(), own.end());
    }
    tiles.resize(static_cast<size_t>(cuda::max_expert_tiles(tokens * per_token, experts, kTileTokens)),
                 {-1, -1, -1});
    sorted_tokens.resize(ids.size(), -1);
    places.resize(ids.size(), -1);
    EXPECT_EQ(plan_experts({.expert_ids = ids.data(),
                            .tokens = sorted_tokens.data(),
                            .places = places.data(),
                            .tiles = tiles.data(),
                            .num_tokens = tokens,
                            .experts_per_token = per_token,
                            .num_experts = experts,
                            .num_tiles = static_cast<int64_t>(tiles.size()),
                            .tile_tokens = kTileTokens},
                           nullptr),
              0);
  }
  static constexpr int32_t kTileTokens = 4;
  int64_t num_tokens, experts_per_token, num_experts;
  std::vector<int32_t> ids, sorted_tokens, places;
  std::vector<cuda::LinearTile> tiles;
};

TEST(CudaExpertPlan, SortsPairsByExpertThenToken) {
  for (const auto& [tokens, experts] :
       {std::pair<int64_t, int64_t>{1, 5}, {37, 9}, {20, 300}, {41, 64}, {700, 3}}) {
    const PlannedPairs plan(tokens, 3, experts);
    int32_t place = 0;
    size_t tile = 0;
    for (int32_t e = 0; e < experts; ++e) {
      const int32_t first = place;
      for (size_t i = 0; i < plan.ids.size(); ++i) {
        if (plan.ids[i] != e) continue;
        ASSERT_EQ(plan.places[i], place);
        ASSERT_EQ(plan.sorted_tokens[static_cast<size_t>(place++)], static_cast<int32_t>(i / 3));
      }
      for (int32_t begin = first; begin < place; begin += plan.kTileTokens) {
        ASSERT_LT(tile, plan.tiles.size());
        const cuda::LinearTile& got = plan.tiles[tile++];
        ASSERT_EQ(got.group, e);
        ASSERT_EQ(got.first, begin);
        ASSERT_EQ(got.count, std::min(place - begin, plan.kTileTokens));
      }
    }
    for (; tile < plan.tiles.size(); ++tile) ASSERT_EQ(plan.tiles[tile].count, 0);
  }
}

TEST(CudaCombine, AddsInExpertOrderWithoutAbsentOnes) {
  const PlannedPairs plan(13, 3, 6);
  const int64_t width = 21;
  Values values(2);
  const auto pairs = static_cast<int64_t>(plan.ids.size());
  auto outputs = strided(values, pairs, width, width);
  const auto weights = strided(values, 1, pairs, pairs);
  auto got = strided(values, plan.num_tokens, width, width);
  auto want = got;
  std::vector<cuda::LinearGroup> groups(6, {outputs.data(), nullptr});
  groups[4].panels = nullptr;
  for (size_t pair = 0; pair < plan.ids.size(); ++pair)
    for (int64_t i = 0; i < width && plan.ids[pair] == 4; ++i)
      outputs[static_cast<size_t>(plan.places[pair] * width + i)] = kNaN;  // never computed
  ASSERT_EQ(combine_experts({.outputs = outputs.data(),
                             .expert_ids = plan.ids.data(),
                             .expert_weights = weights.data(),
                             .places = plan.places.data(),
                             .groups = groups.data(),
                             .y = got.data(),
                             .num_tokens = plan.num_tokens,
                             .experts_per_token = 3,
                             .width = width},
                            nullptr),
            0);
  for (size_t pair = 0; pair < plan.ids.size(); ++pair) {
    if (plan.ids[pair] == 4) continue;
    for (int64_t i = 0; i < width; ++i) {
      const float weighted = weights[pair] * outputs[static_cast<size_t>(plan.places[pair] * width + i)];
      want[pair / 3 * static_cast<size_t>(width) + static_cast<size_t>(i)] += weighted;
    }
  }
  EXPECT_EQ(got, want);
}

TEST(CudaElements, EmbedGatherClearAdd) {
  const int64_t cols = 131;
  Values values(4);
  const auto table = strided(values, 5, cols, cols);
  const std::vector<int32_t> ids = {12, 9, 14, 10, 15};  // rows 10 to 14 are here
  for (DType dtype : kFloatTypes) {
    std::vector<std::byte> stored(table.size() * dtype_bytes(dtype));
    for (size_t i = 0; i < table.size(); ++i)
      ref::store_element(stored.data(), dtype, static_cast<int64_t>(i), table[i]);
    std::vector<float> out(5 * static_cast<size_t>(cols), kNaN);
    ASSERT_EQ(embed({.table = stored.data(),
                     .dtype = dtype,
                     .token_ids = ids.data(),
                     .out = out.data(),
                     .first_row = 10,
                     .rows = 5,
                     .cols = cols,
                     .num_tokens = 5},
                    nullptr),
              0);
    for (int64_t i = 0; i < 5 * cols; ++i) {
      const int64_t row = ids[static_cast<size_t>(i / cols)] - 10;
      const float want =
          row < 0 || row > 4 ? 0 : ref::load_element(stored.data(), dtype, row * cols + i % cols);
      ASSERT_EQ(out[static_cast<size_t>(i)], want) << dtype_name(dtype) << " at " << i;
    }
  }
  const std::vector<int32_t> rows = {4, 0, 4};
  std::vector<float> to(3 * static_cast<size_t>(cols), 7);
  cuda::GatherParams gather{.from = table.data(),
                            .rows = rows.data(),
                            .to = to.data(),
                            .from_stride = cols,
                            .to_stride = cols,
                            .num_rows = 3,
                            .width = cols - 1};
  const auto expect_rows = [&](const std::vector<int32_t>& want) {
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t k = 0; k < cols; ++k)
        ASSERT_EQ(to[static_cast<size_t>(i * cols + k)],
                  k + 1 == cols ? 7 : table[static_cast<size_t>(want[static_cast<size_t>(i)] * cols + k)]);
  };
  ASSERT_EQ(gather_rows(gather, nullptr), 0);
  ASSERT_NO_FATAL_FAILURE(expect_rows(rows));
  gather.rows = nullptr;
  ASSERT_EQ(gather_rows(gather, nullptr), 0);
  ASSERT_NO_FATAL_FAILURE(expect_rows({0, 1, 2}));
  std::vector<float> sum = to;
  ASSERT_EQ(clear_or_add({.x = to.data(), .y = sum.data(), .count = 300}, nullptr), 0);
  for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], i < 300 ? 2 * to[i] : to[i]);
  ASSERT_EQ(clear_or_add({.x = to.data(), .count = 300}, nullptr), 0);
  for (size_t i = 0; i < to.size(); ++i) ASSERT_EQ(to[i] == 0, i < 300);
}

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
