// Models cut into slices (model/sharding.h) against the same goldens as whole ones.
#include <gtest/gtest.h>

#include "kernels/params.h"
#include "support/engine.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

struct SlicedCase {
  std::string variant;
  int64_t num_slices = 1;
  int64_t num_expert_groups = 1;
};

void PrintTo(const SlicedCase& value, std::ostream* out) {
  *out << value.variant << " in " << value.num_slices << " slices";
}

std::vector<SlicedCase> sliced_cases() {
  std::vector<SlicedCase> cases;
  for (const std::string& variant : golden_variants()) {
    const auto config = load_model_config(golden_dir(variant));
    if (!config.ok()) continue;
    for (int64_t slices : {2, 4}) {
      if (config->num_attention_heads % slices != 0) continue;
      cases.push_back({variant, slices, 1});
      if (config->n_routed_experts > 0) cases.push_back({variant, slices, slices});
    }
  }
  return cases;
}

class SlicedGoldenTest : public ::testing::TestWithParam<SlicedCase> {
 protected:
  static EngineOptions options(const std::string& folder) {
    EngineOptions options = small_options(folder);
    options.dtype = DType::kFloat32;
    options.max_model_len = 256;
    options.num_slices = GetParam().num_slices;
    options.num_expert_groups = GetParam().num_expert_groups;
    return options;
  }
};

INSTANTIATE_TEST_SUITE_P(Variants, SlicedGoldenTest, ::testing::ValuesIn(sliced_cases()),
                         [](const auto& test_case) {
                           return fmt::format("{}_{}_{}", test_case.param.variant, test_case.param.num_slices,
                                              test_case.param.num_expert_groups);
                         });

TEST_P(SlicedGoldenTest, AgreesAtEveryPositionAndContinuesEqually) {
  const Golden golden = read_golden(GetParam().variant);
  EngineOptions sliced = options(golden_dir(GetParam().variant));
  sliced.max_model_len.reset();
  const auto engine = load_engine(sliced);
  ASSERT_NE(engine, nullptr);
  const std::vector<float> ours = score_all(*engine, golden.ids);
  ASSERT_EQ(ours.size(), golden.logits.size());
  EXPECT_LE(position_distances(ours, golden.logits, golden.logits.size() / golden.ids.size()).back(), 1e-5);
  const auto answers =
      run_all(*engine, {{golden.ids, greedy_params(static_cast<int64_t>(golden.greedy.size()))}});
  EXPECT_EQ(answers[0].ids, golden.greedy);
}

// A slice's activations have scales of their own, no coarser than the whole row's, so that what rounding may
// cost is what it may cost the whole model (quantized_golden_test.cc): in all five inputs of a layer where
// they have two digits. With one digit the reference takes the same values but in the two inputs that are
// cut, attention's output and the network's hidden row, where both sides round, apart from each other.
TEST_P(SlicedGoldenTest, QuantizedStaysWithinWhatRoundingMayCost) {
  if (GetParam().variant != "lite_like" && GetParam().variant != "attention_bias") GTEST_SKIP();
  constexpr double kSqrt12 = 3.4641016151377544;
  for (const char* type : {"w8a16", "w8a8_dynamic"}) {
    TempDir folder;
    assemble_quantized_golden(GetParam().variant, type, folder.path());
    const QuantizedGolden golden = read_quantized_golden(GetParam().variant, type);
    const auto engine = load_engine(options(folder.path()));
    ASSERT_NE(engine, nullptr);
    const std::vector<float> ours = score_all(*engine, golden.ids);
    ASSERT_EQ(ours.size(), golden.logits.size());
    const std::vector<double> distances =
        position_distances(ours, golden.logits, golden.logits.size() / golden.ids.size());
    const bool one_digit = std::string(type) == "w8a8_dynamic";
    const double unit = golden.input_crest / (one_digit ? 127.0 : kernels::kInt8PairLimit) / kSqrt12;
    const double inputs = (one_digit ? 4.0 : 5.0) * static_cast<double>(engine->config().num_hidden_layers);
    const double tolerance = 3 * unit * std::sqrt(inputs);
    // Flipped experts move single positions by more.
    const double distance = distances[one_digit ? distances.size() / 4 : distances.size() / 2];
    std::printf("  %-14s %-13s %.1e of %.1e\n", GetParam().variant.c_str(), type, distance, tolerance);
    EXPECT_LE(distance, tolerance) << type;
    EXPECT_GE(distance, tolerance / 100) << "nothing was rounded";
  }
}

}  // namespace
}  // namespace fathom::testing
