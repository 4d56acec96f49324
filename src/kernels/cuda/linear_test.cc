// Products on the emulated device against the scalar reference, and bit for bit against themselves in other
// batches, cuts and thread orders. Tolerances as in kernels/linear_test.cc.
#include "kernels/cuda/linear_test_support.h"

namespace fathom::kernels::cuda_emulated {
namespace {

void compare_with_reference(const CudaVariant& variant, int64_t num_tokens, int64_t wanted_inputs,
                            int64_t num_outputs, Output output) {
  const int64_t num_inputs = allowed_inputs(variant, wanted_inputs);
  const ProductFixture fixture(variant, num_tokens, num_inputs, num_outputs, output);
  const std::vector<float> got = fixture.run(fixture.device), want = fixture.run_reference();
  const bool paired = output == Output::kSiluMul;
  const double sum_error = kEpsilon * static_cast<double>((num_inputs + 8) * (num_inputs + 2));
  const double tolerance = paired ? 8 * sum_error * static_cast<double>(num_inputs + 1) : sum_error;
  const bool is_exact = is_integer(fixture.matrix.format);
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
      const ProductFixture fixture(variant, num_tokens, allowed_inputs(variant, 1131), 40, output);
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

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
