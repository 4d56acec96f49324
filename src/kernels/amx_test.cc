// The tile instructions themselves: the emulation against a scalar model of Intel's definition, and, where
// the machine has AMX, hardware against the emulation, both bit for bit.
#include "kernels/cpu/amx/kernels.h"

#include <bit>

#include "kernels/test_support.h"

namespace fathom::kernels {
namespace {

// What AMX does to a subnormal number on either side of an operation.
float flushed(float x) { return std::abs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

float multiply_add(float a, float b, float sum) {
  return flushed(std::fma(flushed(a), flushed(b), flushed(sum)));
}

// One output of tdpbf16ps after tdpbf16ps, 32 inputs each.
float model_bf16(const BFloat16* x, const TestMatrix& matrix, const void* panels, int64_t output) {
  float total = 0;
  for (int64_t begin = 0; begin < padded_inputs(matrix.cols, matrix.format); begin += 32) {
    float sums[2] = {0, 0};
    for (int64_t k = begin; k < begin + 32; ++k) {
      sums[k % 2] = multiply_add(
          to_float(x[k]), ref::load_packed(panels, matrix.format, matrix.cols, output, k), sums[k % 2]);
    }
    total = flushed(total + flushed(sums[0] + sums[1]));
  }
  return total;
}

// Factors are random times 2^e, e at most the limit and less than `spread` below it.
struct Magnitudes {
  int x_limit, weight_limit, spread;
};
constexpr Magnitudes kMagnitudes[] = {
    {1, 1, 1},       // like a model's
    {58, 58, 160},   // over the whole range
    {-55, -65, 16},  // products about 2^-126: flushed as results
    {-123, 30, 8},   // subnormal inputs that would matter
    {20, -122, 8},   // subnormal weights
};

struct Bf16Case {
  Bf16Case(const Magnitudes& magnitudes, int64_t tokens, int64_t width, int64_t outputs)
      : values(static_cast<uint64_t>(tokens + magnitudes.x_limit + 1000)),
        num_tokens(tokens),
        matrix(values, outputs, width, DType::kBFloat16) {
    auto* weights = static_cast<BFloat16*>(matrix.data());
    for (int64_t i = 0; i < matrix.num * kPanelRows * padded_inputs(width, PanelFormat::kBFloat16); ++i) {
      weights[i] = scaled(to_float(weights[i]), magnitudes.weight_limit, magnitudes.spread);
    }
    x.resize(static_cast<size_t>(num_tokens * padded_inputs(width, PanelFormat::kBFloat16)));
    for (BFloat16& element : x) element = scaled(values.next(), magnitudes.x_limit, magnitudes.spread);
    // Zeros behind the last input, as prepared rows have.
    for (int64_t t = 0; t < num_tokens; ++t) {
      for (int64_t k = width; k < stride(); ++k) x[static_cast<size_t>(t * stride() + k)] = {};
    }
  }
  BFloat16 scaled(float value, int limit, int spread) {
    return from_float<BFloat16>(std::ldexp(value, limit - static_cast<int>(values.below(spread))));
  }
  int64_t stride() const { return padded_inputs(matrix.cols, PanelFormat::kBFloat16); }
  LinearParams params(std::vector<float>& y) {
    y.assign(static_cast<size_t>(num_tokens * matrix.rows), kNaN);
    return {.x = x.data(),
            .form = InputForm::kBFloat16,
            .x_stride = stride(),
            .panels = matrix.data(),
            .format = PanelFormat::kBFloat16,
            .y = y.data(),
            .y_stride = matrix.rows,
            .num_tokens = num_tokens,
            .num_inputs = matrix.cols,
            .num_outputs = matrix.rows,
            .begin = 0,
            .end = matrix.num};
  }
  Values values;
  int64_t num_tokens;
  TestMatrix matrix;
  std::vector<BFloat16> x;
};

TEST(EmulatedTiles, Bf16ProductsAreTheManuals) {
  if (!can_emulate_amx()) GTEST_SKIP() << "amx-emulated needs AVX-512 VNNI and BF16";
  for (const Magnitudes& magnitudes : kMagnitudes) {
    Bf16Case c(magnitudes, 19, 140, 21);
    std::vector<float> got;
    amx_emulated::linear_bf16(c.params(got));
    for (int64_t t = 0; t < c.num_tokens; ++t) {
      for (int64_t j = 0; j < c.matrix.rows; ++j) {
        const float want = model_bf16(c.x.data() + t * c.stride(), c.matrix, c.matrix.data(), j);
        const float value = got[static_cast<size_t>(t * c.matrix.rows + j)];
        ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(want))
            << t << " " << j << ": " << value << ", " << want << " up to 2^" << magnitudes.x_limit;
      }
    }
  }
}

TEST(EmulatedTiles, AreTheHardwares) {
  if (detect_cpu_features().best_isa() < Isa::kAmx) GTEST_SKIP() << "no AMX";
  for (const Magnitudes& magnitudes : kMagnitudes) {
    for (int64_t num_tokens : {1, 16, 31, 70}) {
      Bf16Case c(magnitudes, num_tokens, 300, 70);
      std::vector<float> emulated, real;
      amx_emulated::linear_bf16(c.params(emulated));
      amx::linear_bf16(c.params(real));
      ASSERT_EQ(std::memcmp(real.data(), emulated.data(), real.size() * sizeof(float)), 0)
          << num_tokens << " tokens up to 2^" << magnitudes.x_limit;
    }
  }
}

// Attention of random heads over a bf16 cache, in both forms.
std::vector<float> attend(void (*absorbed)(const AbsorbedAttentionParams&),
                          void (*expanded)(const ExpandedAttentionParams&)) {
  constexpr int64_t kHeads = 20, kLatent = 96, kRope = 32, kNope = 40, kValue = 70, kKeys = 150, kFirst = 41;
  Values values(5);
  const auto q = strided(values, kKeys, kLatent + kRope, kLatent + kRope);
  TestMatrix cache(values, 160, kLatent + kRope, DType::kBFloat16);  // any memory of bf16 values
  TestMatrix key_panels(values, kNope, kLatent, DType::kBFloat16);
  TestMatrix value_panels(values, kValue, kLatent, DType::kBFloat16);
  const std::vector<int32_t> page_table{2, 0, 4, 1, 3};
  std::vector<std::byte> scratch(
      static_cast<size_t>(std::max(absorbed_scratch_bytes(kHeads, kLatent, kRope),
                                   expanded_scratch_bytes(kKeys, kLatent, kRope, kNope, kValue)) +
                          64));
  void* aligned = scratch.data();
  size_t space = scratch.size();
  std::align(64, scratch.size() - 64, aligned, space);
  const LatentCacheView view{.data = cache.data(),
                             .dtype = DType::kBFloat16,
                             .rope_dtype = DType::kBFloat16,
                             .latent_dim = kLatent,
                             .rope_dim = kRope,
                             .block_size = 32};
  std::vector<float> out(static_cast<size_t>(kHeads * (kLatent + 2) + (kKeys - kFirst) * kValue));
  float* max = out.data() + kHeads * kLatent;
  absorbed({.q = q.data(),
            .page_table = page_table.data(),
            .out = out.data(),
            .max = max,
            .sum = max + kHeads,
            .scratch = aligned,
            .cache = view,
            .q_stride = kLatent + kRope,
            .num_heads = kHeads,
            .key_begin = 0,
            .key_end = kKeys,
            .scale = 0.1f,
            .precision = AttentionPrecision::kBFloat16});
  expanded({.q = q.data(),
            .key_panels = key_panels.data(),
            .value_panels = value_panels.data(),
            .page_table = page_table.data(),
            .out = max + 2 * kHeads,
            .scratch = aligned,
            .cache = view,
            .q_stride = kLatent + kRope,
            .out_stride = kValue,
            .num_tokens = kKeys - kFirst,
            .first_position = kFirst,
            .nope_dim = kNope,
            .v_dim = kValue,
            .scale = 0.1f,
            .kv_b_format = PanelFormat::kBFloat16,
            .precision = AttentionPrecision::kBFloat16});
  return out;
}

TEST(EmulatedTiles, AttentionIsTheReferencesAndTheHardwares) {
  if (!can_emulate_amx()) GTEST_SKIP() << "amx-emulated needs AVX-512 VNNI and BF16";
  const auto emulated = attend(amx_emulated::absorbed_attention, amx_emulated::expanded_attention);
  const auto reference = attend(ref::absorbed_attention, ref::expanded_attention);
  for (size_t i = 0; i < reference.size(); ++i) {
    // Weights and their factors are rounded to bf16, a few times in a row.
    ASSERT_NEAR(emulated[i], reference[i], 8 * kBf16Epsilon * (std::abs(reference[i]) + 1)) << i;
  }
  if (detect_cpu_features().best_isa() < Isa::kAmx) GTEST_SKIP() << "no AMX";
  const auto real = attend(amx::absorbed_attention, amx::expanded_attention);
  ASSERT_EQ(std::memcmp(real.data(), emulated.data(), real.size() * sizeof(float)), 0);
}

}  // namespace
}  // namespace fathom::kernels
