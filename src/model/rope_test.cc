#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace fathom {
namespace {

ModelConfig lite_rope() {
  ModelConfig config;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.rope_theta = 10000;
  config.rope_scaling = YarnScaling{.factor = 40, .mscale = 0.707, .mscale_all_dim = 0.707};
  return config;
}

// The published figures for base 10000, context 4096, beta 32 and 1: ramp from dimension 10 to 23.
TEST(Rope, YarnRampOfTheReleasedModels) {
  const ModelConfig config = lite_rope();
  const auto frequencies = rope_frequencies(config);
  const auto share = [&](int j) {
    return frequencies[static_cast<size_t>(j)] / std::pow(10000.0, -2.0 * j / 64);
  };
  for (int j = 0; j <= 10; ++j) EXPECT_NEAR(share(j), 1, 1e-6) << j;
  EXPECT_NEAR(share(11), 0.925, 1e-6);
  EXPECT_NEAR(share(16), 0.55, 1e-6);
  EXPECT_NEAR(share(20), 0.25, 1e-6);
  EXPECT_NEAR(share(22), 0.1, 1e-6);
  for (int j = 23; j < 32; ++j) EXPECT_NEAR(share(j), 0.025, 1e-6) << j;
}

TEST(Rope, AttentionScales) {
  ModelConfig config = lite_rope();
  EXPECT_NEAR(attention_scale(config), 0.1147213868, 1e-8);
  config.rope_scaling->mscale_all_dim = 1;
  EXPECT_NEAR(attention_scale(config), 0.1352337789, 1e-8);
  config.rope_scaling->mscale_all_dim = 0;
  EXPECT_NEAR(attention_scale(config), 0.0721687836, 1e-8);
  EXPECT_NEAR(rope_magnitude(config), 1 + 0.1 * 0.707 * std::log(40), 1e-6);
  config.rope_scaling.reset();
  EXPECT_NEAR(attention_scale(config), 0.0721687836, 1e-8);
  EXPECT_EQ(rope_magnitude(config), 1.0f);
}

TEST(Rope, TablesHoldEveryPosition) {
  const ModelConfig config = lite_rope();
  const auto tables = rope_tables(config, 5000);
  ASSERT_EQ(tables.size(), 2u * 5000 * 32);
  EXPECT_EQ(tables[0], 1.0f);
  const auto frequencies = rope_frequencies(config);
  const float angle = 4999.0f * frequencies[3];
  EXPECT_NEAR(tables[4999 * 32 + 3], std::cos(angle), 1e-6);
  EXPECT_NEAR(tables[(5000 + 4999) * 32 + 3], std::sin(angle), 1e-6);
}

}  // namespace
}  // namespace fathom
