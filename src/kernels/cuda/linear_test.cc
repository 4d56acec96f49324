// Products on the emulated device against the scalar reference, and bit for bit against themselves in other
// batches, cuts and thread orders. Tolerances as in kernels/linear_test.cc.
#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/linear_plan.h"
#include "kernels/test_support.h"

namespace fathom::kernels::cuda_emulated {
namespace {

using Output = LinearParams::Output;

struct CudaVariant {
  const char* name;
  InputForm form;
  DType format;
  bool float16_inputs = false;
};
constexpr CudaVariant kCudaVariants[] = {
    {"fp32", InputForm::kFloat32, DType::kFloat32},
    {"fp32 x bf16", InputForm::kFloat32, DType::kBFloat16},
    {"fp32 x fp16", InputForm::kFloat32, DType::kFloat16},
    {"bf16", InputForm::kBFloat16, DType::kBFloat16},
    {"fp16", InputForm::kFloat32, DType::kFloat16, true},
    {"W8A8", InputForm::kInt8, DType::kInt8},
    {"W8A16", InputForm::kInt8Pair, DType::kInt8},
};

// A weight, rows for it in the variant's form, and for the reference.
struct ProductFixture {
  ProductFixture(const CudaVariant& chosen, int64_t num_tokens, int64_t num_inputs, int64_t num_outputs,
                 Output output)
      : variant(chosen),
        values(static_cast<uint64_t>(num_tokens * 1000003 + num_inputs * 1009 + num_outputs)),
        matrix(values, num_outputs, num_inputs, variant.format,
               output == Output::kSiluMul ? PanelOrder::kGateUpPairs : PanelOrder::kPlain),
        x(strided(values, num_tokens, num_inputs, num_inputs)),
        rows(rounded(x), num_tokens, num_inputs, num_inputs, variant.form, matrix.format, 0),
        bias(strided(values, 1, num_outputs, num_outputs)),
        y_weights(strided(values, 1, num_tokens, num_tokens)) {
    for (int64_t t = 0; t < num_tokens; ++t) y_rows.push_back(static_cast<int32_t>(2 * (num_tokens - t) - 1));
    reference = {.x = rows.bytes.data(),
                 .x_scales = rows.scales.data(),
                 .form = variant.form,
                 .x_stride = rows.stride,
                 .panels = matrix.data(),
                 .weight_scales = matrix.scales.data(),
                 .weight_sums = matrix.sums.data(),
                 .bias = output != Output::kSiluMul && num_tokens % 2 == 0 ? bias.data() : nullptr,
                 .format = matrix.format,
                 .y_stride = num_outputs + 2,
                 .y_rows = num_inputs % 2 == 0 ? y_rows.data() : nullptr,
                 .y_weights = y_weights.data(),
                 .output = output,
                 .num_tokens = num_tokens,
                 .num_inputs = num_inputs,
                 .num_outputs = num_outputs,
                 .begin = matrix.num > 3 ? 2 : 0,
                 .end = matrix.num};
    device.linear = reference;
    if (variant.float16_inputs) prepare_float16();
  }
  // fp16 inputs have float16's precision already.
  std::vector<float> rounded(std::vector<float> data) const {
    if (variant.float16_inputs)
      for (float& value : data) value = ref::round_activation(value, ActivationRounding::kFloat16);
    return data;
  }
  void prepare_float16() {
    const LinearParams& p = reference;
    half_rows.resize(static_cast<size_t>(p.num_tokens * p.x_stride));
    half_scales.resize(static_cast<size_t>(p.num_tokens));
    ASSERT_EQ(prepare({.rows = {.x = x.data(),
                                .width = p.num_inputs,
                                .x_stride = p.num_inputs,
                                .rounding = ActivationRounding::kFloat16,
                                .end = p.num_tokens},
                       .float16 = {half_rows.data(), half_scales.data(), p.x_stride}},
                      nullptr),
              0);
    device.linear.x = half_rows.data();
    device.linear.x_scales = half_scales.data();
    device.float16_inputs = true;
  }
  size_t y_size() const { return static_cast<size_t>(2 * reference.num_tokens * reference.y_stride); }
  std::vector<float> run(const cuda::LinearBatchParams& params) const {
    std::vector<float> y(y_size(), 0.5f);
    cuda::LinearBatchParams p = params;
    p.linear.y = y.data();
    EXPECT_EQ(linear(p, nullptr), 0);
    return y;
  }
  std::vector<float> run_reference() const {
    std::vector<float> y(y_size(), 0.5f);
    LinearParams p = reference;
    p.y = y.data();
    ref::linear(p);
    return y;
  }

  CudaVariant variant;
  Values values;
  TestMatrix matrix;
  std::vector<float> x;
  TestRows rows;
  std::vector<float> bias, y_weights;
  std::vector<int32_t> y_rows;
  std::vector<uint16_t> half_rows;
  std::vector<float> half_scales;
  LinearParams reference;
  cuda::LinearBatchParams device;
};

void compare_with_reference(const CudaVariant& variant, int64_t num_tokens, int64_t num_inputs,
                            int64_t num_outputs, Output output) {
  const ProductFixture fixture(variant, num_tokens, num_inputs, num_outputs, output);
  const std::vector<float> got = fixture.run(fixture.device), want = fixture.run_reference();
  const bool paired = output == Output::kSiluMul;
  const double sum_error = kEpsilon * static_cast<double>((num_inputs + 8) * (num_inputs + 2));
  const double tolerance = paired ? 8 * sum_error * static_cast<double>(num_inputs + 1) : sum_error;
  const bool is_exact = variant.format == DType::kInt8;
  for (size_t i = 0; i < got.size(); ++i) {
    const double allowed = !is_exact ? tolerance : paired ? 16 * kEpsilon * (std::abs(want[i]) + 1) : 0;
    ASSERT_NEAR(got[i], want[i], allowed)
        << variant.name << " T " << num_tokens << " K " << num_inputs << " N " << num_outputs << " output "
        << static_cast<int>(output) << " at " << i;
  }
}

TEST(CudaLinear, EqualsReference) {
  int round = 0;
  for (const CudaVariant& variant : kCudaVariants) {
    for (int64_t num_tokens : {1, 2, 5, 8, 17, 67}) {
      for (int64_t num_inputs : {1, 32, 171}) {
        for (int64_t num_outputs : {1, 16, 50, 97}) {
          const auto output = static_cast<Output>(round++ % 4);
          ASSERT_NO_FATAL_FAILURE(
              compare_with_reference(variant, num_tokens, num_inputs, num_outputs, output));
        }
      }
    }
  }
}

TEST(CudaLinear, EveryOutputOfEveryVariant) {
  for (const CudaVariant& variant : kCudaVariants)
    for (int64_t num_tokens : {3, 20})
      for (Output output : {Output::kStore, Output::kAdd, Output::kAddWeighted, Output::kSiluMul})
        ASSERT_NO_FATAL_FAILURE(compare_with_reference(variant, num_tokens, 130, 70, output));
}

// y of 16 bits is the float32 result rounded, what is not an output stays; tiles and streams.
TEST(CudaLinear, SixteenBitOutputsAreRounded) {
  for (const CudaVariant& variant : kCudaVariants) {
    for (DType dtype : {DType::kBFloat16, DType::kFloat16}) {
      for (int64_t num_tokens : {6, 21}) {
        const ProductFixture fixture(variant, num_tokens, 90, 37, Output::kStore);
        const std::vector<float> want = fixture.run(fixture.device);
        std::vector<uint16_t> got(want.size(), 0x4240), rounded(got);
        for (size_t i = 0; i < want.size(); ++i)
          if (want[i] != 0.5f) ref::store_element(rounded.data(), dtype, static_cast<int64_t>(i), want[i]);
        cuda::LinearBatchParams p = fixture.device;
        p.linear.y = reinterpret_cast<float*>(got.data());
        p.y_dtype = dtype;
        ASSERT_EQ(linear(p, nullptr), 0);
        EXPECT_EQ(got, rounded) << variant.name << " to " << dtype_name(dtype);
      }
    }
  }
}

// Powers of two, so that a row's result is exactly its scale times what it was.
TEST(CudaLinear, BFloat16RowsMayHaveScales) {
  for (int64_t num_tokens : {6, 21}) {
    const ProductFixture fixture(kCudaVariants[3], num_tokens, 90, 37, Output::kStore);
    cuda::LinearBatchParams p = fixture.device;
    p.linear.y_rows = nullptr;
    p.linear.bias = nullptr;
    std::vector<float> want = fixture.run(p);
    std::vector<float> scales;
    for (int64_t t = 0; t < num_tokens; ++t) scales.push_back(std::ldexp(1.0f, static_cast<int>(t) - 9));
    for (int64_t i = 0; i < num_tokens * p.linear.y_stride; ++i)
      if (want[static_cast<size_t>(i)] != 0.5f)
        want[static_cast<size_t>(i)] *= scales[static_cast<size_t>(i / p.linear.y_stride)];
    p.linear.x_scales = scales.data();
    p.bfloat16_scales = true;
    EXPECT_EQ(fixture.run(p), want);
  }
}

// Several chunks of inputs; 70 rows are tiles, 9 and 1 streams.
TEST(CudaLinear, BitsDependOnTheRowAlone) {
  for (const CudaVariant& variant : kCudaVariants) {
    for (Output output : {Output::kStore, Output::kSiluMul}) {
      const int64_t num_tokens = 70;
      const ProductFixture fixture(variant, num_tokens, 1131, 40, output);
      cuda::LinearBatchParams p = fixture.device;
      p.linear.y_rows = nullptr;
      const std::vector<float> all = fixture.run(p);
      set_thread_order(ThreadOrder::kBackward);
      EXPECT_EQ(fixture.run(p), all) << variant.name;
      set_thread_order(ThreadOrder::kForward);
      const int64_t elements = rows_per_token(p.linear.form) * p.linear.x_stride;
      const int64_t bytes = variant.float16_inputs ? 2 : input_bytes(p.linear.form);
      for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 1}, {41, 1}, {3, 5}, {60, 9}}) {
        cuda::LinearBatchParams part = p;
        part.linear.x = static_cast<const std::byte*>(p.linear.x) + first * elements * bytes;
        part.linear.x_scales = p.linear.x_scales + first;
        part.linear.num_tokens = count;
        const std::vector<float> got = fixture.run(part);
        const auto y_stride = p.linear.y_stride;
        for (int64_t i = 0; i < count * y_stride; ++i)
          ASSERT_EQ(got[static_cast<size_t>(i)], all[static_cast<size_t>(first * y_stride + i)])
              << variant.name << " rows from " << first << " at " << i;
      }
    }
  }
}

// Experts: tokens of several groups in one launch, rows picked by x_rows, one expert absent, one without
// tokens.
TEST(CudaLinear, GroupsGiveTheBitsOfTheirOwnProducts) {
  for (const CudaVariant& variant : kCudaVariants) {
    for (int64_t scale : {1, 9}) {  // streams, tiles
      const int64_t num_tokens = 8 * scale, num_inputs = 96, num_outputs = 40;
      const ProductFixture fixture(variant, num_tokens, num_inputs, num_outputs, Output::kStore);
      Values values(17);
      const TestMatrix other(values, num_outputs, num_inputs, variant.format);
      TestMatrix second = other;
      const std::vector<cuda::LinearGroup> groups = {
          {fixture.device.linear.panels, fixture.matrix.scales.data()},
          {},
          {second.data(), second.scales.data()},
          {second.data(), second.scales.data()}};
      const auto at = [scale](int64_t i) { return static_cast<int32_t>(i * scale); };
      const std::vector<cuda::LinearTile> tiles = {
          {0, 0, at(3)}, {1, at(3), at(1)}, {3, at(4), at(3)}, {}, {3, at(7), at(1)}};
      std::vector<int32_t> x_rows;
      for (int64_t t = 0; t < num_tokens; ++t)
        x_rows.push_back(static_cast<int32_t>((t * 5 + 2) % num_tokens));
      cuda::LinearBatchParams p = fixture.device;
      p.linear.y_rows = nullptr;
      p.linear.bias = nullptr;
      const std::vector<float> first_weight = fixture.run(p);
      p.linear.panels = groups[3].panels;
      p.linear.weight_scales = groups[3].weight_scales;
      const std::vector<float> second_weight = fixture.run(p);
      p.linear.panels = nullptr;
      p.linear.weight_scales = nullptr;
      p.x_rows = x_rows.data();
      p.groups = groups.data();
      p.num_groups = static_cast<int64_t>(groups.size());
      p.tiles = tiles.data();
      p.num_tiles = static_cast<int64_t>(tiles.size());
      p.tile_tokens = at(3);
      const std::vector<float> got = fixture.run(p);
      for (int64_t t = 0; t < num_tokens; ++t) {
        const bool absent = t >= at(3) && t < at(4);
        const std::vector<float>& want = t < at(3) ? first_weight : second_weight;
        for (int64_t j = 0; j < num_outputs; ++j) {
          const auto index = static_cast<size_t>(t * p.linear.y_stride + j);
          const auto from = static_cast<size_t>(x_rows[static_cast<size_t>(t)] * p.linear.y_stride + j);
          ASSERT_EQ(got[index], absent ? 0.5f : want[from])
              << variant.name << " token " << t << " output " << j;
        }
      }
    }
  }
}

// Heads: token t belongs to group t % 3.
TEST(CudaLinear, InterleavedGroupsGiveTheBitsOfTheirOwnProducts) {
  for (const CudaVariant& variant : kCudaVariants) {
    for (int64_t group_tokens : {1, 11, 70}) {
      constexpr int64_t kGroups = 3;
      const int64_t num_tokens = kGroups * group_tokens, num_outputs = 20;
      const ProductFixture fixture(variant, num_tokens, 72, num_outputs, Output::kStore);
      Values values(18);
      TestMatrix weights[kGroups] = {{values, num_outputs, 72, variant.format},
                                     {values, num_outputs, 72, variant.format},
                                     {values, num_outputs, 72, variant.format}};
      std::vector<cuda::LinearGroup> groups;
      for (TestMatrix& weight : weights) groups.push_back({weight.data(), weight.scales.data()});
      cuda::LinearBatchParams p = fixture.device;
      p.linear.y_rows = nullptr;
      p.linear.bias = nullptr;
      p.linear.begin = 0;
      p.linear.end = weights[0].num;
      cuda::LinearBatchParams together = p;
      together.linear.panels = nullptr;
      together.linear.weight_scales = nullptr;
      together.groups = groups.data();
      together.num_groups = kGroups;
      const std::vector<float> got = fixture.run(together);
      for (int64_t g = 0; g < kGroups; ++g) {
        p.linear.panels = groups[static_cast<size_t>(g)].panels;
        p.linear.weight_scales = groups[static_cast<size_t>(g)].weight_scales;
        const std::vector<float> want = fixture.run(p);
        for (int64_t t = g; t < num_tokens; t += kGroups)
          for (int64_t j = 0; j < num_outputs; ++j) {
            const auto index = static_cast<size_t>(t * p.linear.y_stride + j);
            ASSERT_EQ(got[index], want[index]) << variant.name << " token " << t << " output " << j;
          }
      }
    }
  }
}

// The largest sums that the family's widths can give: int32 must hold them.
TEST(CudaLinear, Int8SumsAreExactAtTheLargestWidths) {
  const int64_t num_inputs = 12288;
  Values values(1);
  TestMatrix matrix(values, 16, num_inputs, DType::kInt8);
  std::memset(matrix.data(), 127, static_cast<size_t>(panel_bytes(num_inputs, matrix.format)));
  const TestRows rows(std::vector<float>(static_cast<size_t>(num_inputs), 1.0f), 1, num_inputs, num_inputs,
                      InputForm::kInt8Pair, matrix.format, 0);
  std::vector<float> got(16), want(16);
  cuda::LinearBatchParams p{.linear = {.x = rows.bytes.data(),
                                       .x_scales = rows.scales.data(),
                                       .form = InputForm::kInt8Pair,
                                       .x_stride = rows.stride,
                                       .panels = matrix.data(),
                                       .weight_scales = matrix.scales.data(),
                                       .format = PanelFormat::kInt8,
                                       .y = got.data(),
                                       .y_stride = 16,
                                       .num_tokens = 1,
                                       .num_inputs = num_inputs,
                                       .num_outputs = 16,
                                       .end = 1}};
  ASSERT_EQ(linear(p, nullptr), 0);
  p.linear.y = want.data();
  ref::linear(p.linear);
  EXPECT_EQ(got, want);
}

TEST(CudaLinearPlan, FewRowsStreamWhileTheirSumsFit) {
  using cuda::LinearCut;
  using cuda::plan_linear;
  EXPECT_EQ(plan_linear(1, 100, 1, kSharedLimit).stream_products, 1);
  EXPECT_EQ(plan_linear(8, 100, 2, kSharedLimit).stream_products, 1);
  EXPECT_EQ(plan_linear(9, 100, 1, kSharedLimit).stream_products, 2);
  EXPECT_EQ(plan_linear(16, 100, 1, kSharedLimit).cut, LinearCut::kStream);
  EXPECT_EQ(plan_linear(17, 100, 1, kSharedLimit).cut, LinearCut::kTile);
  // 32 steps a chunk, 512 bytes a panel and product.
  EXPECT_EQ(plan_linear(16, 33, 2, kSharedLimit).stream_shared_bytes, 2u * 2 * 2 * 512);
  EXPECT_EQ(plan_linear(16, 1024, 2, 32u * 4 * 512).cut, LinearCut::kStream);
  EXPECT_EQ(plan_linear(16, 1024, 2, 32u * 4 * 512 - 1).cut, LinearCut::kTile);
}

TEST(CudaLinearPlan, TilesOfExperts) {
  using cuda::expert_tile_tokens;
  using cuda::max_expert_tiles;
  EXPECT_EQ(expert_tile_tokens(6, 64), 8);        // a token
  EXPECT_EQ(expert_tile_tokens(6 * 64, 64), 16);  // 6 pairs an expert
  EXPECT_EQ(expert_tile_tokens(6 * 256, 64), 64);
  EXPECT_EQ(expert_tile_tokens(6 * 2048, 64), 128);
  EXPECT_EQ(max_expert_tiles(0, 64, 8), 0);
  EXPECT_EQ(max_expert_tiles(6, 64, 8), 6);
  EXPECT_EQ(max_expert_tiles(1000, 1, 16), 63);
  // The worst distribution: all but one expert have one pair.
  EXPECT_EQ(max_expert_tiles(63 + 8 * 10 + 1, 64, 8), 63 + 11);
}

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
