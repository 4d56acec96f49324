// The engine against logits of the reference implementation, for every variant of the config
// (tools/reference).
#include <gtest/gtest.h>

#include "model/rope.h"
#include "support/engine.h"
#include "support/golden.h"

namespace fathom::testing {
namespace {

class GoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  EngineOptions options(DType dtype) const {
    EngineOptions options = small_options(golden_dir(GetParam()));
    options.dtype = dtype;
    return options;
  }
};

INSTANTIATE_TEST_SUITE_P(Variants, GoldenTest, ::testing::ValuesIn(golden_variants()),
                         [](const auto& variant) { return variant.param; });

// Both forms of attention, whatever the length.
constexpr int64_t kFormSwitches[] = {1, int64_t{1} << 30};

TEST_P(GoldenTest, Float32AgreesAtEveryPosition) {
  const Golden golden = read_golden(GetParam());
  for (int64_t expanded_from : kFormSwitches) {
    EngineOptions float_options = options(DType::kFloat32);
    float_options.expanded_prompt_tokens = expanded_from;
    const auto engine = load_engine(float_options);
    ASSERT_NE(engine, nullptr);
    const std::vector<float> ours = score_all(*engine, golden.ids);
    ASSERT_EQ(ours.size(), golden.logits.size());
    const double worst =
        position_distances(ours, golden.logits, golden.logits.size() / golden.ids.size()).back();
    std::printf("  %-22s %s worst position %.2e, all positions %.2e\n", GetParam().c_str(),
                expanded_from == 1 ? "expanded" : "absorbed", worst, relative_distance(ours, golden.logits));
    EXPECT_LE(worst, 1e-5);
  }
}

TEST_P(GoldenTest, GreedyContinuationIsEqual) {
  const Golden golden = read_golden(GetParam());
  const auto engine = load_engine(options(DType::kFloat32));
  ASSERT_NE(engine, nullptr);
  const auto answers =
      run_all(*engine, {{golden.ids, greedy_params(static_cast<int64_t>(golden.greedy.size()))}});
  EXPECT_EQ(answers[0].ids, golden.greedy);
}

// docs/numerics.md: a rounding to bf16 errs by at most 2^-8 of its value, by 2^-9 where the significand is
// near 2; the bound takes the smaller one, 2^-9 / sqrt(3) on average. A layer has ten independent ones (six
// where attention multiplies in float32), the head one more; independent errors add as squares. Three times
// that is allowed.
double rounding_tolerance(DType dtype, int64_t num_layers) {
  const double unit = dtype == DType::kBFloat16 ? 0x1p-9 : 0x1p-12;
  const int64_t roundings = dtype == DType::kBFloat16 ? 10 : 6;
  return 3 * unit / std::sqrt(3.0) * std::sqrt(static_cast<double>(roundings * num_layers + 1));
}

// The distance that a quarter of the positions stay below. Where rounding flips a nearly tied expert (or
// group), that position and those that attend to it are off by more than rounding, which no tolerance from
// epsilons covers; a wrong formula or a biased rounding moves all positions.
double lower_quartile(const std::vector<float>& ours, const std::vector<float>& reference,
                      size_t vocab_size) {
  const std::vector<double> distances = position_distances(ours, reference, vocab_size);
  return distances[distances.size() / 4];
}

TEST_P(GoldenTest, RoundedActivationsStayWithinTheirBound) {
  const Golden golden = read_golden(GetParam());
  for (DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    for (int64_t expanded_from : kFormSwitches) {
      EngineOptions rounded_options = options(dtype);
      rounded_options.expanded_prompt_tokens = expanded_from;
      const auto engine = load_engine(rounded_options);
      ASSERT_NE(engine, nullptr);
      const std::vector<float> ours = score_all(*engine, golden.ids);
      for (float logit : ours) ASSERT_TRUE(std::isfinite(logit));
      const double distance = lower_quartile(ours, golden.logits, golden.logits.size() / golden.ids.size());
      const double tolerance = rounding_tolerance(dtype, engine->config().num_hidden_layers);
      std::printf("  %-22s %s %.2e of %.2e\n", GetParam().c_str(), std::string(dtype_name(dtype)).c_str(),
                  distance, tolerance);
      EXPECT_LE(distance, tolerance) << dtype_name(dtype);
      EXPECT_GE(distance, tolerance / 100) << "nothing was rounded";
    }
  }
}

TEST_P(GoldenTest, RopeFrequenciesAreTheReferences) {
  const auto config = load_model_config(golden_dir(GetParam()));
  ASSERT_TRUE(config.ok()) << config.status().message();
  const auto file = SafetensorsFile::open(golden_dir(GetParam()) + "/golden.safetensors");
  ASSERT_TRUE(file.ok());
  const auto want = read_tensor<float>(**file, "rope.inv_freq");
  const auto got = rope_frequencies(*config);
  ASSERT_EQ(got.size(), want.size());
  for (size_t j = 0; j < want.size(); ++j) EXPECT_NEAR(got[j], want[j], want[j] * 0x1p-22) << j;
}

}  // namespace
}  // namespace fathom::testing
