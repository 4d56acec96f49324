#include "quantize/recipe.h"

#include <gtest/gtest.h>

#include "support/tiny_config.h"

namespace fathom {
namespace {

using testing::tiny_config;

constexpr QuantType kFloat = QuantType::kFloat;
constexpr QuantType kW8A16 = QuantType::kW8A16;
constexpr QuantType kW8A8 = QuantType::kW8A8Dynamic;
constexpr QuantType kW4A8 = QuantType::kW4A8Dynamic;

class RecipeTest : public ::testing::Test {
 protected:
  QuantType type_of(const Recipe& recipe, const std::string& name) {
    const auto types = assign_types(table_, recipe);
    EXPECT_TRUE(types.ok()) << types.status().message();
    for (size_t i = 0; types.ok() && i < table_.size(); ++i) {
      if (table_[i].name == name) return (*types)[i];
    }
    ADD_FAILURE() << name;
    return kFloat;
  }
  std::string refusal(const Recipe& recipe) { return assign_types(table_, recipe).status().message(); }
  QuantizeKeys keys(const Recipe& recipe) {
    const auto types = assign_types(table_, recipe);
    EXPECT_TRUE(types.ok()) << types.status().message();
    return types.ok() ? quantize_keys(table_, *types, recipe) : QuantizeKeys();
  }
  std::vector<WeightSpec> table_ = weight_table(tiny_config());
};

const std::string kQ = "model.layers.1.self_attn.q_proj.weight";
const std::string kUp = "model.layers.1.mlp.experts.2.up_proj.weight";

TEST_F(RecipeTest, OneTypeForAllLinears) {
  for (QuantType type : kQuantizedTypes) {
    const auto types = assign_types(table_, {.type = type});
    ASSERT_TRUE(types.ok());
    for (size_t i = 0; i < table_.size(); ++i) {
      const bool linear =
          table_[i].formats == WeightFormats::kFloatOrQuantized && table_[i].name != "lm_head.weight";
      EXPECT_EQ((*types)[i], linear ? type : kFloat) << table_[i].name;
    }
  }
}

TEST_F(RecipeTest, TheSeedsMixedRecipe) {
  const Recipe recipe = {.type = kW8A8, .mix = {{"self_attn", kW8A16}}};
  EXPECT_EQ(type_of(recipe, kQ), kW8A16);
  EXPECT_EQ(type_of(recipe, kUp), kW8A8);
  EXPECT_EQ(type_of(recipe, "model.layers.1.self_attn.kv_b_proj.weight"), kFloat);
  EXPECT_EQ(keys(recipe).quantize, kW8A8);
  EXPECT_EQ(keys(recipe).mla_quantize, kW8A16);
  EXPECT_EQ(keys(recipe).moe_quantize, std::nullopt);
}

TEST_F(RecipeTest, LaterRulesWinAndExclusionsOverAll) {
  Recipe recipe = {.type = kW8A8, .mix = {{"layers.1.", kW8A16}, {"model.layers.?.mlp.experts.*", kW4A8}}};
  EXPECT_EQ(type_of(recipe, kQ), kW8A16);
  EXPECT_EQ(type_of(recipe, kUp), kW4A8);
  EXPECT_EQ(type_of(recipe, "model.layers.0.self_attn.q_proj.weight"), kW8A8);
  EXPECT_EQ(keys(recipe).mla_quantize, std::nullopt);  // two types
  EXPECT_EQ(keys(recipe).moe_quantize, kW4A8);
  std::swap(recipe.mix[0], recipe.mix[1]);
  EXPECT_EQ(type_of(recipe, kUp), kW8A16);
  recipe.exclude = {"*.experts.2.*"};
  EXPECT_EQ(type_of(recipe, kUp), kFloat);
  EXPECT_EQ(type_of(recipe, "model.layers.1.mlp.experts.3.up_proj.weight"), kW8A16);
}

TEST_F(RecipeTest, TheHeadIsAskedForExplicitly) {
  EXPECT_EQ(type_of({.type = kW8A16, .quantize_head = true}, "lm_head.weight"), kW8A16);
  EXPECT_EQ(type_of({.type = kW8A16, .mix = {{"*", kW4A8}}}, "lm_head.weight"), kFloat);
  EXPECT_EQ(type_of({.type = kW8A16, .mix = {{"lm_head", kW4A8}}, .quantize_head = true}, "lm_head.weight"),
            kW4A8);
  EXPECT_EQ(refusal({.mix = {{"lm_head", kW8A16}}}),
            "--mix: \"lm_head\" fits no tensor that is quantised (lm_head.weight stays floating without "
            "--quantize-head)");
  ModelConfig tied = tiny_config();
  tied.tie_word_embeddings = true;
  table_ = weight_table(tied);
  EXPECT_EQ(refusal({.quantize_head = true}),
            "--quantize-head: the model has no head of its own, its embeddings are tied");
}

TEST_F(RecipeTest, PatternsMustFitSomething) {
  EXPECT_EQ(refusal({.mix = {{"layers.7.", kW8A16}}}), "--mix: no tensor's name fits \"layers.7.\"");
  EXPECT_EQ(refusal({.mix = {{"layers.1.*", kW8A16}}}),
            "--mix: no tensor's name fits \"layers.1.*\"");  // not whole
  EXPECT_EQ(refusal({.exclude = {"kv_b_proj"}}),
            "--exclude: \"kv_b_proj\" fits no tensor that is quantised "
            "(model.layers.0.self_attn.kv_b_proj.weight stays floating)");
}

TEST_F(RecipeTest, GateAndUpStayTogether) {
  EXPECT_EQ(
      refusal({.type = kW8A8, .mix = {{"layers.1.mlp.experts.2.up_proj", kW8A16}}}),
      "model.layers.1.mlp.experts.2.gate_proj.weight would be w8a8-dynamic and "
      "model.layers.1.mlp.experts.2.up_proj.weight w8a16: gate and up of one network are multiplied together "
      "and need the same type");
  EXPECT_NE(refusal({.exclude = {"shared_experts.gate_proj"}}), "");
  EXPECT_NE(refusal({.exclude = {"layers.0.mlp.up_proj"}}), "");
  EXPECT_EQ(refusal({.exclude = {"down_proj"}}), "");
}

}  // namespace
}  // namespace fathom
