// Quantised checkpoints against a NumPy reference (tools/reference/make_quantized_goldens.py), on every
// instruction set of this machine and in both forms of attention.
#include <gtest/gtest.h>

#include "kernels/params.h"
#include "support/engine.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

constexpr Isa kTiers[] = {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx};
// Both forms of attention, whatever the length.
constexpr int64_t kQuantizedFormSwitches[] = {1, int64_t{1} << 30};

constexpr double kSqrt12 = 3.4641016151377544;  // a uniform error in [-1, 1] / 2 is 1 / sqrt(12) on average

struct QuantizedCase {
  std::string variant;
  std::string type;
};

void PrintTo(const QuantizedCase& value, std::ostream* out) { *out << value.variant << " " << value.type; }

class QuantizedGoldenTest : public ::testing::TestWithParam<QuantizedCase> {
 protected:
  void SetUp() override { assemble_quantized_golden(GetParam().variant, GetParam().type, folder_.path()); }

  // Logits of the golden's prompt for each form of attention on each tier, and what they are.
  struct Run {
    std::string name;
    std::vector<float> logits;
  };
  std::vector<Run> run_everywhere(const QuantizedGolden& golden, DType cache) {
    std::vector<Run> runs;
    for (Isa isa : kTiers) {
      if (isa > detect_cpu_features().best_isa()) {
        std::printf("  skipped: this machine does not have %s\n", std::string(isa_name(isa)).c_str());
        continue;
      }
      for (int64_t expanded_from : kQuantizedFormSwitches) {
        EngineOptions options = small_options(folder_.path());
        options.dtype = DType::kFloat32;
        options.kv_cache_dtype = cache;
        options.isa = isa;
        options.max_model_len = 128;
        options.expanded_prompt_tokens = expanded_from;
        const auto engine = load_engine(options);
        if (engine == nullptr) continue;
        num_layers_ = engine->config().num_hidden_layers;
        runs.push_back({fmt::format("{} {}", isa_name(isa), expanded_from == 1 ? "expanded" : "absorbed"),
                        score_all(*engine, golden.ids)});
        EXPECT_EQ(runs.back().logits.size(), golden.logits.size());
      }
    }
    return runs;
  }

  TempDir folder_;
  int64_t num_layers_ = 0;
};

std::vector<QuantizedCase> quantized_cases() {
  std::vector<QuantizedCase> cases;
  for (const char* variant : {"lite_like", "attention_bias", "odd_sizes"}) {
    for (const char* type : {"w8a16", "w8a8_dynamic", "mix"}) cases.push_back({variant, type});
  }
  for (const char* variant : {"lite_like", "attention_bias"}) {
    for (const char* type : {"w4a16", "w4a8_dynamic"}) cases.push_back({variant, type});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Types, QuantizedGoldenTest, ::testing::ValuesIn(quantized_cases()),
                         [](const auto& test_case) {
                           return test_case.param.variant + "_" + test_case.param.type;
                         });

// The reference multiplies W8A16 layers in float, ours rounds their inputs to the nearest of 2 * 32384 steps
// between -max|x| and max|x| (docs/numerics.md): an error of max|x| / 32384 / sqrt(12) on average, crest
// times that relative to the row. A layer has at most five such inputs (norm, q-LoRA's latent, attention's
// output, network norm, network hidden), errors add as squares, three times that is allowed.
double two_digit_tolerance(double crest, int64_t num_layers) {
  const double unit = crest / kernels::kInt8PairLimit / kSqrt12;
  return 3 * unit * std::sqrt(5.0 * static_cast<double>(num_layers));
}

// W8A8 and W4A8: the prompts hold no near ties (tools/reference/README.md), so both sides take the same int8
// values and experts, exact sums of them are the same, and what is left at every position is float32's own
// rounding: 1e-5 as in every golden. W8A16 and W4A16: what two digits cost, an average over errors, hence
// held at the median position. Mix: the reference takes the same digits, but some round to another side,
// which costs at most as much.
TEST_P(QuantizedGoldenTest, AgreesWithTheReference) {
  const QuantizedGolden golden = read_quantized_golden(GetParam().variant, GetParam().type);
  ASSERT_FALSE(golden.ids.empty());
  for (const Run& run : run_everywhere(golden, DType::kFloat32)) {
    const std::vector<double> distances =
        position_distances(run.logits, golden.logits, golden.logits.size() / golden.ids.size());
    const double median = distances[distances.size() / 2];
    const double two_digits = two_digit_tolerance(golden.input_crest, num_layers_);
    std::printf("  %-20s median %.1e worst %.1e, two digits may cost %.1e\n", run.name.c_str(), median,
                distances.back(), two_digits);
    if (GetParam().type.ends_with("a8_dynamic")) {
      EXPECT_LE(distances.back(), 1e-5) << run.name;
    } else {
      EXPECT_LE(median, two_digits) << run.name;
    }
    if (GetParam().type.ends_with("a16")) {
      EXPECT_GE(median, two_digits / 100) << "nothing was rounded";
    }
  }
}

// A cached latent is rounded to one int8 digit, max|c| / 127 / sqrt(12) on average, and enters the scores and
// the values; the rotated key beside it is rounded to bf16, 2^-9 / sqrt(3) as in golden_test.cc. Held at the
// lower quartile of the positions, since rounding may flip an expert.
TEST_P(QuantizedGoldenTest, Int8CacheStaysWithinItsBound) {
  const QuantizedGolden golden = read_quantized_golden(GetParam().variant, GetParam().type);
  ASSERT_FALSE(golden.ids.empty());
  const std::vector<Run> exact = run_everywhere(golden, DType::kFloat32);
  const std::vector<Run> rounded = run_everywhere(golden, DType::kInt8);
  ASSERT_EQ(exact.size(), rounded.size());
  const double latent = golden.latent_crest / kernels::kInt8Limit / kSqrt12;
  const double key = 0x1p-9 / std::sqrt(3.0);
  const double tolerance =
      3 * std::sqrt((2 * latent * latent + key * key) * static_cast<double>(num_layers_));
  for (size_t i = 0; i < exact.size(); ++i) {
    const std::vector<double> distances =
        position_distances(rounded[i].logits, exact[i].logits, golden.logits.size() / golden.ids.size());
    const double quartile = distances[distances.size() / 4];
    std::printf("  %-20s lower quartile %.1e, worst %.1e of %.1e\n", exact[i].name.c_str(), quartile,
                distances.back(), tolerance);
    EXPECT_LE(quartile, tolerance) << exact[i].name;
    EXPECT_GE(quartile, tolerance / 100) << "nothing was rounded";
  }
}

}  // namespace
}  // namespace fathom::testing
