// Preparing rows, rotating queries and storing latents on the emulated device against the scalar reference.
#include "kernels/attention_test_support.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"

namespace fathom::kernels::cuda_emulated {
namespace {

constexpr int64_t kRows = 8;
constexpr ActivationRounding kAllRoundings[] = {ActivationRounding::kNone, ActivationRounding::kBFloat16,
                                                ActivationRounding::kFloat16};

// Every destination of prepare, and what a kernel must not leave there.
struct Prepared {
  explicit Prepared(int64_t width)
      : padded(padded_inputs(width, PanelFormat::kInt8)),
        float32(size(4), 0x55),
        bfloat16(size(2), 0x55),
        int8(size(1), 0x55),
        int8_pair(size(2), 0x55),
        float16(size(2), 0x55),
        scales(3 * kRows, -1) {}
  void run(const PrepareParams& params, bool on_device) {
    cuda::PrepareBatchParams p{.rows = params};
    p.rows.float32 = {float32.data(), nullptr, padded};
    p.rows.bfloat16 = {bfloat16.data(), nullptr, padded};
    p.rows.int8 = {int8.data(), scales.data(), padded};
    p.rows.int8_pair = {int8_pair.data(), scales.data() + kRows, padded};
    p.float16 = {float16.data(), scales.data() + 2 * kRows, padded};
    if (!on_device) {
      ref::prepare(p.rows);
    } else {
      ASSERT_EQ(prepare(p, nullptr), 0);
    }
  }
  float value(int64_t i) const { return reinterpret_cast<const float*>(float32.data())[i]; }
  float half(int64_t i) const {
    return to_float(reinterpret_cast<const Float16*>(float16.data())[i]) *
           scales[static_cast<size_t>(2 * kRows + i / padded)];
  }
  size_t size(int64_t bytes) const { return static_cast<size_t>(kRows * padded * bytes); }

  int64_t padded;
  std::vector<uint8_t> float32, bfloat16, int8, int8_pair, float16;
  std::vector<float> scales;
};

std::vector<float> rows_of_any_size(Values& values, int64_t width, int64_t stride) {
  std::vector<float> x = strided(values, kRows, width, stride);
  const auto row = [&](int64_t t) { return x.data() + t * stride; };
  for (int64_t i = 0; i < width; ++i) {
    row(1)[i] = 0;
    row(2)[i] *= 1e6f;
    row(3)[i] *= 1e-40f;
    row(4)[i] = static_cast<float>(values.below(255) - 127) * 0.5f;
    row(7)[i] *= 3e37f;
  }
  row(4)[width - 1] = 127;
  row(5)[width / 2] = kNaN;
  row(6)[0] = -std::numeric_limits<float>::infinity();
  return x;
}

// Equal bytes, or both NaN.
void expect_same_floats(const Prepared& got, const Prepared& want) {
  for (int64_t i = 0; i < kRows * got.padded; ++i) {
    const float a = got.value(i), b = want.value(i);
    ASSERT_TRUE(std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b)))
        << a << " for " << b << " at " << i;
  }
  for (size_t i = 0; i < 2 * kRows; ++i) {
    const float a = got.scales[i], b = want.scales[i];
    ASSERT_TRUE(a == b || (std::isnan(a) && std::isnan(b))) << "scale " << i << " " << a << " for " << b;
  }
}

TEST(CudaPrepare, EqualsReferenceInEveryBitWithoutANorm) {
  for (int64_t width : {1, 7, 64, 65, 300, 513}) {
    for (ActivationRounding rounding : kAllRoundings) {
      Values values(static_cast<uint64_t>(width));
      const auto x = rows_of_any_size(values, width, width + 3);
      const PrepareParams p{
          .x = x.data(), .width = width, .x_stride = width + 3, .rounding = rounding, .end = kRows};
      Prepared got(width), want(width);
      got.run(p, true);
      want.run(p, false);
      ASSERT_NO_FATAL_FAILURE(expect_same_floats(got, want)) << "width " << width;
      ASSERT_EQ(got.bfloat16, want.bfloat16);
      ASSERT_EQ(got.int8, want.int8);
      ASSERT_EQ(got.int8_pair, want.int8_pair);
    }
  }
}

// fp16 rows times their powers of two are the values rounded as float16 activations: exactly where the power
// is 1, else within half a unit of fp16's smallest numbers.
TEST(CudaPrepare, Float16RowsHoldAnySize) {
  const int64_t width = 77;
  Values values(3);
  const auto x = rows_of_any_size(values, width, width);
  const PrepareParams p{.x = x.data(),
                        .width = width,
                        .x_stride = width,
                        .rounding = ActivationRounding::kFloat16,
                        .end = kRows};
  Prepared got(width);
  got.run(p, true);
  for (int64_t t = 0; t < kRows; ++t) {
    if (t == 5 || t == 6) continue;  // not finite
    const float scale = got.scales[static_cast<size_t>(2 * kRows + t)];
    EXPECT_EQ(scale == 1, t != 2 && t != 7) << t;
    for (int64_t i = 0; i < got.padded; ++i) {
      const double want = i < width ? got.value(t * got.padded + i) : 0;
      ASSERT_NEAR(got.half(t * got.padded + i), want, scale == 1 ? 0 : scale * 0x1p-25) << t << " at " << i;
    }
  }
  EXPECT_TRUE(std::isnan(got.half(5 * got.padded + width / 2)));
  EXPECT_TRUE(std::isinf(got.half(6 * got.padded)));
}

TEST(CudaPrepare, NormEqualsReference) {
  for (int64_t width : {1, 33, 300, 1100}) {
    Values values(static_cast<uint64_t>(width) + 9);
    const auto x = strided(values, kRows, width, width);
    const auto weight = strided(values, 1, width, width);
    const PrepareParams p{.x = x.data(),
                          .norm_weight = weight.data(),
                          .width = width,
                          .x_stride = width,
                          .eps = 1e-6f,
                          .end = kRows};
    Prepared got(width), want(width);
    got.run(p, true);
    want.run(p, false);
    // A sum of squares errs by at most width + 8 roundings, its root by half of that.
    const double error = kEpsilon * (static_cast<double>(width) / 2 + 8);
    for (int64_t i = 0; i < kRows * got.padded; ++i)
      ASSERT_NEAR(got.value(i), want.value(i), error * std::abs(want.value(i)))
          << "width " << width << " at " << i;
    for (size_t i = 0; i < got.int8.size(); ++i)
      ASSERT_LE(std::abs(static_cast<int8_t>(got.int8[i]) - static_cast<int8_t>(want.int8[i])), 1);
  }
}

TEST(CudaPrepare, BitsDependOnTheRowAlone) {
  const int64_t width = 300;
  Values values(5);
  const auto x = strided(values, kRows, width, width);
  const auto weight = strided(values, 1, width, width);
  PrepareParams p{.x = x.data(),
                  .norm_weight = weight.data(),
                  .width = width,
                  .x_stride = width,
                  .eps = 1e-6f,
                  .end = kRows};
  Prepared all(width), backward(width);
  all.run(p, true);
  set_thread_order(ThreadOrder::kBackward);
  backward.run(p, true);
  set_thread_order(ThreadOrder::kForward);
  EXPECT_EQ(all.float32, backward.float32);
  EXPECT_EQ(all.int8_pair, backward.int8_pair);
  p.x += 6 * width;
  p.end = 1;
  Prepared one(width);
  one.run(p, true);
  for (int64_t i = 0; i < width; ++i) ASSERT_EQ(one.value(i), all.value(6 * one.padded + i));
}

TEST(CudaRopeQuery, EqualsReferenceInEveryBit) {
  for (int64_t rope_dim : {2, 6, 64}) {
    for (int64_t num_heads : {1, 3, 16}) {
      const int64_t num_tokens = 5, nope_dim = 7;
      Values values(static_cast<uint64_t>(rope_dim));
      const Rotation rotation(values, num_tokens, rope_dim);
      auto got = strided(values, num_tokens * num_heads, nope_dim + rope_dim, nope_dim + rope_dim);
      auto want = got;
      RopeQueryParams p{.q = got.data(),
                        .positions = rotation.positions.data(),
                        .cos_table = rotation.cosines.data(),
                        .sin_table = rotation.sines.data(),
                        .num_heads = num_heads,
                        .nope_dim = nope_dim,
                        .rope_dim = rope_dim,
                        .end = num_tokens};
      ASSERT_EQ(rope_query(p, nullptr), 0);
      p.q = want.data();
      ref::rope_query(p);
      ASSERT_EQ(got, want) << "r " << rope_dim << " H " << num_heads;
    }
  }
}

// Inputs of one magnitude, a power of two, have an exact norm: every byte of the cache follows, and nothing
// else is written. The rotated part is the same arithmetic on both sides.
TEST(CudaStoreLatent, EqualsReferenceInEveryByteGivenTheNorm) {
  const std::vector<int64_t> slots = {3, 0, 9, 15, 7, 4};
  const auto num_tokens = static_cast<int64_t>(slots.size());
  for (const CacheKind& kind : kCacheKinds) {
    for (const auto& [latent_dim, rope_dim] : {std::pair<int64_t, int64_t>{13, 2}, {64, 34}, {512, 64}}) {
      Values values(static_cast<uint64_t>(latent_dim));
      const Rotation rotation(values, num_tokens, rope_dim);
      auto kv_a = strided(values, num_tokens, latent_dim + rope_dim, latent_dim + rope_dim);
      for (size_t i = 0; i < kv_a.size(); ++i)
        if (static_cast<int64_t>(i) % (latent_dim + rope_dim) < latent_dim)
          kv_a[i] = kv_a[i] < 0 ? -0.5f : 0.5f;
      auto weight = strided(values, 1, latent_dim, latent_dim);
      for (size_t i = 2; i < weight.size(); i += 7) weight[i] = 0;
      const auto bytes = static_cast<size_t>(16 * latent_row_bytes(kind.dtype, latent_dim, rope_dim));
      std::vector<uint8_t> got(bytes, 0xab), want(bytes, 0xab);
      StoreLatentParams p{.kv_a = kv_a.data(),
                          .norm_weight = weight.data(),
                          .positions = rotation.positions.data(),
                          .slots = slots.data(),
                          .cos_table = rotation.cosines.data(),
                          .sin_table = rotation.sines.data(),
                          .cache = {.data = got.data(),
                                    .dtype = kind.dtype,
                                    .rope_dtype = kind.rope_dtype,
                                    .latent_dim = latent_dim,
                                    .rope_dim = rope_dim,
                                    .block_size = 4},
                          .eps = 0,
                          .end = num_tokens};
      ASSERT_EQ(store_latent(p, nullptr), 0);
      p.cache.data = want.data();
      ref::store_latent(p);
      ASSERT_EQ(got, want) << dtype_name(kind.dtype) << " R " << latent_dim;
    }
  }
}

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
