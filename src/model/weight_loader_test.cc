#include "model/weight_loader.h"

#include <gtest/gtest.h>

#include <cstring>

#include "device/backend.h"
#include "model/synth.h"
#include "support/temp_dir.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

void expect_equal(const Weight& a, const Weight& b, const std::string& name) {
  ASSERT_EQ(a.num_panels, b.num_panels) << name;
  ASSERT_GT(a.num_panels, 0) << name;
  const auto bytes = static_cast<size_t>(a.num_panels * kernels::panel_bytes(a.cols, a.format));
  ASSERT_EQ(a.parts.size(), 1u);
  EXPECT_EQ(std::memcmp(a.parts[0].panels, b.parts[0].panels, bytes), 0) << name;
  if (a.scales == nullptr) return;
  const auto outputs = static_cast<size_t>(a.num_panels * kernels::kPanelRows);
  EXPECT_EQ(std::memcmp(a.scales, b.scales, outputs * sizeof(float)), 0) << name;
  EXPECT_EQ(std::memcmp(a.sums, b.sums, outputs * sizeof(int32_t)), 0) << name;
}

// One checkpoint, loaded from its mapping and from a stream.
TEST(WeightLoader, LoadsTheSameWeightsEitherWay) {
  testing::TempDir dir;
  SynthOptions options;
  options.config = testing::tiny_grouped_config();
  options.output = dir.file("model");
  options.config.quantize = QuantType::kW8A8Dynamic;
  options.shard_bytes = 20'000;
  ASSERT_TRUE(synthesize(options, nullptr).ok());
  const auto checkpoint = Checkpoint::open(options.output);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto description = QuantDescription::load(options.output, options.config);
  ASSERT_TRUE(description.ok()) << description.status().message();
  const auto mapped_backend = make_cpu_backend({.num_threads = 1});
  const auto streamed_backend = make_cpu_backend({.num_threads = 1});
  ASSERT_TRUE(mapped_backend.ok() && streamed_backend.ok());
  const auto load = [&](Backend& backend, WeightReading reading) {
    return WeightLoader(backend, **checkpoint, *description, options.config, {}, reading, nullptr).load();
  };
  const auto mapped = load(**mapped_backend, WeightReading::kMapped);
  const auto streamed = load(**streamed_backend, WeightReading::kStreamed);
  ASSERT_TRUE(mapped.ok()) << mapped.status().message();
  ASSERT_TRUE(streamed.ok()) << streamed.status().message();
  expect_equal(mapped->lm_head, streamed->lm_head, "lm_head");
  ASSERT_EQ(mapped->layers.size(), streamed->layers.size());
  for (size_t i = 0; i < mapped->layers.size(); ++i) {
    const LayerWeights& a = mapped->layers[i];
    const LayerWeights& b = streamed->layers[i];
    const std::string layer = "layer " + std::to_string(i);
    expect_equal(a.attention.o_proj[0], b.attention.o_proj[0], layer);
    expect_equal(a.attention.kv_b_proj.values[1], b.attention.kv_b_proj.values[1], layer);
    const auto& experts = a.network[0].experts;
    const auto& other_experts = b.network[0].experts;
    ASSERT_EQ(experts.size(), other_experts.size());
    for (size_t e = 0; e < experts.size(); ++e) {
      expect_equal(experts[e].gate_up, other_experts[e].gate_up, layer);
      expect_equal(experts[e].down, other_experts[e].down, layer);
    }
  }
}

}  // namespace
}  // namespace fathom
