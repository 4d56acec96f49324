// Every faster kernel against its scalar reference on odd shapes. Inputs lie in memory whose gaps hold NaN,
// so that a read beyond a row shows; outputs outside the range must stay as they were. Tolerances come from
// the number of roundings: a sum of n products in float errs by at most about n * 2^-24 times the sum of
// their magnitudes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/float16.h"
#include "base/random.h"
#include "kernels/kernel_table.h"
#include "kernels/ref/kernels.h"
#include "kernels/ref/numbers.h"

namespace fathom::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kEpsilon = 0x1p-24;
constexpr DType kFloatTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};

// The tiers above the reference that this machine has.
std::vector<Isa> fast_tiers() {
  std::vector<Isa> tiers;
  const Isa best = detect_cpu_features().best_isa();
  for (Isa isa : {Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    if (isa <= best) tiers.push_back(isa);
  }
  return tiers;
}

class Values {
 public:
  explicit Values(uint64_t seed) : seed_(seed) {}
  float next() { return static_cast<float>(random_uniform(seed_, counter_++) * 2 - 1); }
  int64_t below(int64_t limit) {
    return static_cast<int64_t>(random_bits(seed_, counter_++) % static_cast<uint64_t>(limit));
  }

 private:
  uint64_t seed_;
  uint64_t counter_ = 0;
};

// rows x cols random floats at a stride, NaN between the rows.
std::vector<float> strided(Values& values, int64_t rows, int64_t cols, int64_t stride) {
  std::vector<float> data(static_cast<size_t>((rows - 1) * stride + cols), kNaN);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) data[static_cast<size_t>(r * stride + c)] = values.next();
  }
  return data;
}

// count random elements of dtype, exactly as many bytes as needed.
std::vector<std::byte> typed(Values& values, int64_t count, DType dtype) {
  std::vector<std::byte> bytes(static_cast<size_t>(count) * dtype_bytes(dtype));
  for (int64_t i = 0; i < count; ++i) ref::store_element(bytes.data(), dtype, i, values.next());
  return bytes;
}

TEST(LinearKernel, EqualsReference) {
  for (Isa isa : fast_tiers()) {
    const KernelTable table = select_kernels(isa);
    for (DType dtype : kFloatTypes) {
      for (int64_t num_tokens : {1, 2, 3, 5, 64, 67}) {
        for (int64_t num_inputs : {1, 7, 8, 9, 48, 171}) {
          for (int64_t num_outputs : {1, 3, 4, 9, 18}) {
            Values values(static_cast<uint64_t>(num_tokens * 1000003 + num_inputs * 1009 + num_outputs));
            const int64_t x_stride = num_inputs + 3, y_stride = num_outputs + 2;
            const auto x = strided(values, num_tokens, num_inputs, x_stride);
            const auto weight = typed(values, num_inputs * num_outputs, dtype);
            const auto bias = strided(values, 1, num_outputs, num_outputs);
            std::vector<float> got(static_cast<size_t>(num_tokens * y_stride), 0.5f);
            std::vector<float> want = got;
            LinearParams p{
                .x = x.data(),
                .weight = weight.data(),
                .bias = num_tokens % 2 == 0 ? bias.data() : nullptr,
                .y = got.data(),
                .num_tokens = num_tokens,
                .num_inputs = num_inputs,
                .x_stride = x_stride,
                .y_stride = y_stride,
                .begin = num_outputs > 3 ? 1 : 0,
                .end = num_outputs,
                .weight_dtype = dtype,
                .output = num_inputs % 2 == 0 ? LinearParams::Output::kAdd : LinearParams::Output::kStore};
            table.linear(p);
            p.y = want.data();
            ref::linear(p);
            // Inputs and weights are at most 1: the magnitudes sum to at most num_inputs; + bias and old
            // value.
            const double tolerance = kEpsilon * static_cast<double>((num_inputs + 8) * (num_inputs + 2));
            for (size_t i = 0; i < got.size(); ++i) {
              ASSERT_NEAR(got[i], want[i], tolerance) << table.linear.name << " T " << num_tokens << " K "
                                                      << num_inputs << " N " << num_outputs << " at " << i;
            }
          }
        }
      }
    }
  }
}

// One token's result has the same bits alone, in any batch and for any cut of the outputs.
TEST(LinearKernel, BitsDependOnTheTokenAlone) {
  for (Isa isa : fast_tiers()) {
    const KernelTable table = select_kernels(isa);
    const int64_t num_inputs = 203, num_outputs = 37, num_tokens = 71;
    for (DType dtype : kFloatTypes) {
      Values values(7);
      const auto x = strided(values, num_tokens, num_inputs, num_inputs);
      const auto weight = typed(values, num_inputs * num_outputs, dtype);
      const auto run = [&](int64_t first, int64_t count, int64_t begin, int64_t end, std::vector<float>& y) {
        table.linear({.x = x.data() + first * num_inputs,
                      .weight = weight.data(),
                      .y = y.data() + first * num_outputs,
                      .num_tokens = count,
                      .num_inputs = num_inputs,
                      .x_stride = num_inputs,
                      .y_stride = num_outputs,
                      .begin = begin,
                      .end = end,
                      .weight_dtype = dtype});
      };
      std::vector<float> whole(static_cast<size_t>(num_tokens * num_outputs));
      run(0, num_tokens, 0, num_outputs, whole);
      for (int64_t chunk : {1, 2, 3, 16}) {
        for (int64_t cut : {1, 5, 16}) {
          std::vector<float> parts(whole.size());
          for (int64_t t = 0; t < num_tokens; t += chunk) {
            const int64_t count = std::min(chunk, num_tokens - t);
            run(t, count, 0, cut, parts);
            run(t, count, cut, num_outputs, parts);
          }
          ASSERT_EQ(std::memcmp(parts.data(), whole.data(), whole.size() * sizeof(float)), 0)
              << table.linear.name << " chunk " << chunk << " cut " << cut;
        }
      }
    }
  }
}

TEST(TransposedLinearKernel, EqualsReference) {
  for (Isa isa : fast_tiers()) {
    const KernelTable table = select_kernels(isa);
    for (DType dtype : kFloatTypes) {
      for (int64_t num_inputs : {1, 5, 16}) {
        for (int64_t num_outputs : {1, 7, 32, 48, 77}) {
          Values values(static_cast<uint64_t>(num_inputs * 100 + num_outputs));
          const auto x = strided(values, 1, num_inputs, num_inputs);
          const auto weight = typed(values, num_inputs * num_outputs, dtype);
          std::vector<float> got(static_cast<size_t>(num_outputs)), want(got);
          TransposedLinearParams p{.x = x.data(),
                                   .weight = weight.data(),
                                   .y = got.data(),
                                   .num_inputs = num_inputs,
                                   .num_outputs = num_outputs,
                                   .weight_dtype = dtype};
          table.transposed_linear(p);
          p.y = want.data();
          ref::transposed_linear(p);
          const double tolerance = kEpsilon * static_cast<double>((num_inputs + 2) * num_inputs);
          for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance);
        }
      }
    }
  }
}

// A cache of one sequence with shuffled pages; rows that belong to no position hold NaN.
struct CacheFixture {
  CacheFixture(Values& values, DType dtype, int64_t latent_dim, int64_t rope_dim, int64_t num_keys,
               int64_t block_size) {
    const int64_t pages = (num_keys + block_size - 1) / block_size;
    const int64_t width = latent_dim + rope_dim;
    page_table.resize(static_cast<size_t>(pages));
    for (int64_t i = 0; i < pages; ++i) page_table[static_cast<size_t>(i)] = static_cast<int32_t>(pages - i);
    bytes.resize(static_cast<size_t>((pages + 1) * block_size * width) * dtype_bytes(dtype));
    for (int64_t i = 0; i < (pages + 1) * block_size * width; ++i)
      ref::store_element(bytes.data(), dtype, i, kNaN);
    view = {.data = bytes.data(),
            .dtype = dtype,
            .latent_dim = latent_dim,
            .rope_dim = rope_dim,
            .block_size = block_size};
    for (int64_t s = 0; s < num_keys; ++s) {
      const int64_t row = ref::cache_row(view, page_table.data(), s);
      for (int64_t i = 0; i < width; ++i)
        ref::store_element(bytes.data(), dtype, row * width + i, values.next());
    }
  }
  std::vector<int32_t> page_table;
  std::vector<std::byte> bytes;
  LatentCacheView view;
};

// Scores are sums of dot_length products, which stay below six standard deviations, 6 sqrt(dot_length) at
// most; weights are e^score, so an error d of a score is a relative error d of its weight. Values are at most
// bound; num_keys additions follow.
double attention_tolerance(int64_t dot_length, double scale, int64_t num_keys, double bound) {
  const double largest_score = 6 * std::sqrt(static_cast<double>(dot_length));
  const double score_error = kEpsilon * static_cast<double>(dot_length / 8 + 12) * largest_score * scale;
  return bound * (2 * score_error + kEpsilon * static_cast<double>(num_keys + 16) * 2);
}

TEST(AbsorbedAttentionKernel, EqualsReference) {
  for (Isa isa : fast_tiers()) {
    const KernelTable table = select_kernels(isa);
    for (DType dtype : kFloatTypes) {
      for (int64_t num_keys : {1, 2, 63, 64, 65, 200}) {
        for (auto [latent_dim, rope_dim] : {std::pair<int64_t, int64_t>{48, 6}, {32, 8}, {13, 2}}) {
          const int64_t num_heads = 3;
          Values values(static_cast<uint64_t>(num_keys * 31 + latent_dim));
          const CacheFixture cache(values, dtype, latent_dim, rope_dim, num_keys, 16);
          const auto q_latent = strided(values, num_heads, latent_dim, latent_dim);
          const auto q_rope = strided(values, num_heads, rope_dim, rope_dim + 5);
          std::vector<float> scratch(
              static_cast<size_t>(absorbed_scratch_floats(num_heads, latent_dim, rope_dim)), kNaN);
          std::vector<float> got(static_cast<size_t>(num_heads * latent_dim), kNaN), want(got);
          AbsorbedAttentionParams p{.q_latent = q_latent.data(),
                                    .q_rope = q_rope.data(),
                                    .page_table = cache.page_table.data(),
                                    .out = got.data(),
                                    .scratch = scratch.data(),
                                    .cache = cache.view,
                                    .q_rope_stride = rope_dim + 5,
                                    .num_keys = num_keys,
                                    .scale = 0.7f,
                                    .begin = 0,
                                    .end = num_heads};
          p.end = 1;
          table.absorbed_attention(p);
          p.begin = 1;
          p.end = num_heads;
          table.absorbed_attention(p);
          p.begin = 0;
          p.out = want.data();
          ref::absorbed_attention(p);
          const int64_t length = latent_dim + rope_dim;
          const double tolerance = attention_tolerance(length, 0.7, num_keys, 1);
          for (size_t i = 0; i < got.size(); ++i)
            ASSERT_NEAR(got[i], want[i], tolerance) << num_keys << " keys at " << i;
        }
      }
    }
  }
}

struct ExpandedCase {
  int64_t first_position;
  int64_t num_tokens;
};

class ExpandedFixture {
 public:
  static constexpr int64_t kLatent = 24, kRope = 6, kNope = 10, kValue = 9;
  ExpandedFixture(uint64_t seed, DType dtype, ExpandedCase sizes)
      : values_(seed),
        cache_(values_, dtype, kLatent, kRope, sizes.first_position + sizes.num_tokens, 8),
        q_(strided(values_, sizes.num_tokens, kNope + kRope, kNope + kRope + 3)),
        kv_b_(typed(values_, (kNope + kValue) * kLatent, dtype)),
        scratch_(
            static_cast<size_t>(expanded_scratch_floats(sizes.num_tokens, kLatent, kRope, kNope, kValue)),
            kNaN) {
    params_ = {.q = q_.data(),
               .kv_b = kv_b_.data(),
               .page_table = cache_.page_table.data(),
               .scratch = scratch_.data(),
               .cache = cache_.view,
               .q_stride = kNope + kRope + 3,
               .out_stride = kValue + 2,
               .num_tokens = sizes.num_tokens,
               .first_position = sizes.first_position,
               .nope_dim = kNope,
               .v_dim = kValue,
               .scale = 0.3f,
               .kv_b_dtype = dtype};
  }
  std::vector<float> run(void (*kernel)(const ExpandedAttentionParams&)) {
    std::vector<float> out(static_cast<size_t>(params_.num_tokens * params_.out_stride), 0.25f);
    params_.out = out.data();
    kernel(params_);
    return out;
  }
  ExpandedAttentionParams& params() { return params_; }

 private:
  Values values_;
  CacheFixture cache_;
  std::vector<float> q_;
  std::vector<std::byte> kv_b_;
  std::vector<float> scratch_;
  ExpandedAttentionParams params_;
};

TEST(ExpandedAttentionKernel, EqualsReference) {
  for (Isa isa : fast_tiers()) {
    const KernelTable table = select_kernels(isa);
    for (DType dtype : kFloatTypes) {
      for (const ExpandedCase sizes :
           {ExpandedCase{0, 1}, {0, 7}, {0, 64}, {0, 65}, {63, 1}, {64, 3}, {30, 100}, {129, 1}}) {
        ExpandedFixture fixture(static_cast<uint64_t>(sizes.first_position * 1000 + sizes.num_tokens), dtype,
                                sizes);
        const auto got = fixture.run(table.expanded_attention.run);
        const auto want = fixture.run(ref::expanded_attention);
        // Expanded keys and values are sums of R products themselves.
        const double bound = 6 * std::sqrt(static_cast<double>(ExpandedFixture::kLatent));
        const int64_t length = ExpandedFixture::kLatent * (ExpandedFixture::kNope + ExpandedFixture::kRope);
        const double tolerance =
            attention_tolerance(length, 0.3, sizes.first_position + sizes.num_tokens, bound);
        for (size_t i = 0; i < got.size(); ++i) {
          ASSERT_NEAR(got[i], want[i], tolerance)
              << "first " << sizes.first_position << " T " << sizes.num_tokens << " at " << i;
        }
      }
    }
  }
}

// Cutting a prompt into chunks changes no bit.
TEST(ExpandedAttentionKernel, ChunksEqualTheWhole) {
  for (Isa isa : fast_tiers()) {
    const KernelTable table = select_kernels(isa);
    constexpr int64_t kTokens = 150;
    ExpandedFixture fixture(3, DType::kBFloat16, {0, kTokens});
    const auto whole = fixture.run(table.expanded_attention.run);
    for (int64_t chunk : {1, 16, 64, 71}) {
      std::vector<float> parts(whole.size(), 0.25f);
      for (int64_t first = 0; first < kTokens; first += chunk) {
        ExpandedAttentionParams p = fixture.params();
        p.q += first * p.q_stride;
        p.out = parts.data() + first * p.out_stride;
        p.first_position = first;
        p.num_tokens = std::min(chunk, kTokens - first);
        table.expanded_attention(p);
      }
      ASSERT_EQ(std::memcmp(parts.data(), whole.data(), whole.size() * sizeof(float)), 0)
          << "chunk " << chunk;
    }
  }
}

TEST(SiluMulKernel, EqualsReference) {
  for (Isa isa : fast_tiers()) {
    const KernelTable table = select_kernels(isa);
    for (auto rounding :
         {ActivationRounding::kNone, ActivationRounding::kBFloat16, ActivationRounding::kFloat16}) {
      std::vector<float> gate, up;
      for (float magnitude : {0.0f, 1e-9f, 1e-5f, 0.01f, 0.7f, 3.0f, 20.0f, 80.0f, 100.0f, 70000.0f, 1e30f}) {
        for (float sign : {-1.0f, 1.0f}) {
          for (float factor : {0.37f, -1.9f, 3e-6f}) {
            gate.push_back(sign * magnitude);
            up.push_back(factor);
          }
        }
      }
      const auto count = static_cast<int64_t>(gate.size());
      std::vector<float> got(gate.size(), 0.125f), want(got);
      SiluMulParams p{.gate = gate.data(),
                      .up = up.data(),
                      .h = got.data(),
                      .num_tokens = 1,
                      .stride = count,
                      .begin = 1,
                      .end = count,
                      .rounding = rounding};
      table.silu_mul(p);
      p.h = want.data();
      ref::silu_mul(p);
      // e^x is good to 4 ulp at its worst; a rounding to bf16 or fp16 may then fall to the other side.
      const double unit = rounding == ActivationRounding::kNone       ? 8 * kEpsilon
                          : rounding == ActivationRounding::kBFloat16 ? 0x1p-8
                                                                      : 0x1p-10;
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], want[i], unit * std::abs(want[i]) + 0x1p-24)
            << "gate " << gate[i] << " up " << up[i];
      }
    }
  }
}

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
