// The scalar router and rounding on cases worked out by hand, and the table of kernels.
#include "kernels/test_support.h"

namespace fathom::kernels {
namespace {

TEST(ReferenceRounding, Float16KeepsLargeValuesFinite) {
  EXPECT_EQ(ref::round_activation(65504.0f, ActivationRounding::kFloat16), 65504.0f);
  EXPECT_EQ(ref::round_activation(1e6f, ActivationRounding::kFloat16), 999936.0f);  // multiples of 512 there
  EXPECT_EQ(ref::round_activation(1.00048828125f, ActivationRounding::kFloat16),
            1.0f);  // halfway to 1 + 2^-10: even
  const float huge = ref::round_activation(-3e38f, ActivationRounding::kFloat16);
  EXPECT_NEAR(huge, -3e38, 3e38 * 0x1p-11);
  EXPECT_EQ(std::bit_cast<uint32_t>(huge) & 0x1fffu, 0u);
}

TEST(ReferenceRouter, PicksByGroupAndScore) {
  const std::vector<float> logits = {3, 0, 1, 2.5f, 2.9f, 2.8f, -1, 2.7f};
  std::vector<float> scratch(8 + 4);
  std::vector<int32_t> ids(3);
  std::vector<float> weights(3);
  RouterParams p{.logits = logits.data(),
                 .expert_ids = ids.data(),
                 .expert_weights = weights.data(),
                 .scratch = scratch.data(),
                 .num_experts = 8,
                 .experts_per_token = 3,
                 .n_group = 1,
                 .topk_group = 1,
                 .scaling = 2,
                 .begin = 0,
                 .end = 1};
  ref::router(p);
  EXPECT_EQ(ids, (std::vector<int32_t>{0, 4, 5}));
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit);
  EXPECT_NEAR(weights[0], 2 * std::exp(3) / sum, 1e-6);
  // Groups of two: the best two hold experts 0, 1 (3) and 4, 5 (2.9).
  p.n_group = 4;
  p.topk_group = 2;
  p.weights = RouterParams::Weights::kNormalized;
  ref::router(p);
  EXPECT_EQ(ids, (std::vector<int32_t>{0, 4, 5}));
  EXPECT_NEAR(weights[0] + weights[1] + weights[2], 1, 1e-6);
  p.topk_group = 1;
  p.experts_per_token = 2;
  ref::router(p);
  EXPECT_EQ(ids[0], 0);
  EXPECT_EQ(ids[1], 1);
}

TEST(KernelTable, EveryTierHasAllFamilies) {
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    for (const auto& [family, name] : describe_kernels(select_kernels(isa))) {
      EXPECT_FALSE(name.empty()) << family;
      if (isa == Isa::kReference) {
        EXPECT_EQ(name, "reference") << family;
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
