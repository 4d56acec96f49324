#include "model/rank_weights.h"

#include <gtest/gtest.h>

#include <map>

#include "support/tiny_config.h"

namespace fathom {
namespace {

using testing::tiny_config;
using testing::tiny_grouped_config;

ModelConfig four_heads(ModelConfig config) {
  config.num_attention_heads = config.num_key_value_heads = 4;
  return config;
}

std::vector<std::string> names_of(const std::vector<WeightPiece>& pieces, std::string_view part) {
  std::vector<std::string> names;
  for (const WeightPiece& piece : pieces)
    if (piece.spec.name.find(part) != std::string::npos) names.push_back(piece.spec.name);
  return names;
}

TEST(RankWeights, OnePieceAWeightHasTheWeightsName) {
  const ModelConfig config = tiny_config();
  const auto table = weight_table(config);
  const auto pieces = weight_pieces(table, config, {.num_ranks = 2, .rank = 1, .num_slices = 2});
  ASSERT_EQ(pieces.size(), table.size());
  for (size_t i = 0; i < table.size(); ++i) EXPECT_EQ(pieces[i].spec.name, table[i].name);
  const WeightPiece piece =
      weight_piece(table[0], config, {.num_ranks = 2, .rank = 1, .num_slices = 2}, {1, 2});
  EXPECT_EQ(piece.spec.shape, (Shape{20, 16}));
  EXPECT_EQ(piece.slice.rows.begin, 20);
}

TEST(RankWeights, AFolderOfHeadsIsNotForSequences) {
  ShardedFolder folder;
  folder.num_ranks = folder.num_slices = 2;
  Sharding wanted{.num_ranks = 2, .num_slices = 2};
  EXPECT_TRUE(check_fits("here", folder, wanted).ok());
  wanted.attention = AttentionShare::kSequences;
  EXPECT_EQ(check_fits("here", folder, wanted).message(),
            "--dp-attention: here has a part of the heads for each rank; use the model it is made of");
}

TEST(RankWeights, SeveralSlicesArePiecesOfTheirOwn) {
  const ModelConfig config = four_heads(tiny_config());
  const auto pieces =
      weight_pieces(weight_table(config), config, {.num_ranks = 2, .rank = 1, .num_slices = 4});
  EXPECT_EQ(names_of(pieces, "layers.0.self_attn.o_proj"),
            (std::vector<std::string>{"model.layers.0.self_attn.o_proj.slice-2.weight",
                                      "model.layers.0.self_attn.o_proj.slice-3.weight"}));
  EXPECT_EQ(names_of(pieces, "layers.0.self_attn.q_proj"),
            (std::vector<std::string>{"model.layers.0.self_attn.q_proj.weight"}));
  // A slice's network as a whole, then the next slice's.
  EXPECT_EQ(names_of(pieces, "layers.0.mlp."),
            (std::vector<std::string>{
                "model.layers.0.mlp.gate_proj.slice-2.weight", "model.layers.0.mlp.up_proj.slice-2.weight",
                "model.layers.0.mlp.down_proj.slice-2.weight", "model.layers.0.mlp.gate_proj.slice-3.weight",
                "model.layers.0.mlp.up_proj.slice-3.weight", "model.layers.0.mlp.down_proj.slice-3.weight"}));
}

// All ranks' pieces cover every element once, or by every rank where nothing is cut; none is empty.
void expect_all_covered(const ModelConfig& config, Sharding sharding) {
  const auto table = weight_table(config);
  std::map<std::string, int64_t> elements;
  for (sharding.rank = 0; sharding.rank < sharding.num_ranks; ++sharding.rank) {
    int64_t of_rank = 0, wanted = 0;
    for (const WeightPiece& piece : weight_pieces(table, config, sharding)) {
      ASSERT_GT(piece.slice.num_elements(), 0);
      ASSERT_EQ(piece.spec.shape.num_elements(), piece.slice.num_elements());
      elements[weight_name(piece.spec.role, piece.spec.layer, piece.spec.expert)] +=
          piece.slice.num_elements();
      of_rank += piece.slice.num_elements();
    }
    for (const WeightSpec& spec : table) wanted += rank_elements(spec, config, sharding);
    EXPECT_EQ(of_rank, wanted);
  }
  for (const WeightSpec& spec : table) {
    const int64_t copies = spec.shard_axis == ShardAxis::kNone ? sharding.num_ranks : 1;
    EXPECT_EQ(elements[spec.name], copies * spec.shape.num_elements()) << spec.name;
  }
}

TEST(RankWeights, RanksHaveEverythingTogether) {
  for (const ModelConfig& config : {four_heads(tiny_config()), four_heads(tiny_grouped_config())}) {
    for (int64_t ranks : {1, 2, 4}) {
      for (int64_t groups : {1, 2, 4})
        expect_all_covered(config, {.num_ranks = ranks, .num_slices = 4, .num_expert_groups = groups});
    }
    expect_all_covered(config, {.num_ranks = 2, .num_slices = 2, .width_unit = 32});
  }
}

TEST(RankWeights, WhatDoesNotFitIsNamed) {
  ShardedFolder folder;
  folder.num_ranks = folder.num_slices = 4;
  EXPECT_TRUE(check_fits("/m", folder, sharding_of(folder, 3)).ok());
  const Sharding two{.num_ranks = 2, .num_slices = 4, .num_expert_groups = 2};
  EXPECT_EQ(
      check_fits("/m", folder, two).message(),
      "/m: was sharded for 4 ranks, --moe-ep 1, --slices 4; asked for are 2 ranks, --moe-ep 2, --slices 4: "
      "start it as it was sharded, or shard the model anew");
}

}  // namespace
}  // namespace fathom
