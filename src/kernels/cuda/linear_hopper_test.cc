// Products by warpgroups on the emulated device: every tile bit for bit against linear.cu, whose emulated
// products add in the same order, and so against each other; and against the scalar reference.
#include "kernels/cuda/hopper_plan.h"
#include "kernels/cuda/linear_test_support.h"

namespace fathom::kernels::cuda_emulated {

#ifdef FATHOM_ON_GPU
bool has_wgmma();  // tests/cuda/pinned_heap.cc
constexpr bool kFamiliesAddAlike = false;
#else
constexpr bool has_wgmma() { return true; }
constexpr bool kFamiliesAddAlike = true;
#endif

namespace {

using cuda::HopperTile;
using cuda::LinearBatchParams;
using cuda::LinearSizes;

class CudaHopperLinear : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_wgmma()) GTEST_SKIP() << "not compute capability 9.0";
  }
};

// The variants that warpgroups multiply.
std::vector<CudaVariant> hopper_variants() {
  std::vector<CudaVariant> variants;
  for (const CudaVariant& variant : kCudaVariants)
    if ((variant.form != InputForm::kFloat32 || variant.float16_inputs) && variant.format != DType::kUint8)
      variants.push_back(variant);
  return variants;
}

std::vector<HopperTile> tiles_of(const CudaVariant& variant, Output output) {
  std::vector<HopperTile> tiles;
  const auto add = [&](HopperTile tile) {
    if (output != Output::kSiluMul || tile.span > 1) tiles.push_back(tile);
  };
  if (variant.format == DType::kInt8) {
    for (HopperTile tile : cuda::kInt8Tiles) add(tile);
  } else {
    for (HopperTile tile : cuda::kFloatTiles) add(tile);
  }
  return tiles;
}

template <typename RunLinear>
std::vector<float> run_linear(const ProductFixture& fixture, const LinearBatchParams& params,
                              const RunLinear& run) {
  std::vector<float> y(fixture.y_size(), 0.5f);
  LinearBatchParams p = params;
  p.linear.y = y.data();
  EXPECT_EQ(run(p), 0);
  return y;
}
std::vector<float> run_tile(const ProductFixture& fixture, const LinearBatchParams& params, HopperTile tile) {
  return run_linear(fixture, params,
                    [tile](const LinearBatchParams& p) { return linear_hopper_tile(p, tile, nullptr); });
}
std::vector<float> run_planned(const ProductFixture& fixture, const LinearBatchParams& params) {
  return run_linear(fixture, params, [](const LinearBatchParams& p) { return linear_hopper(p, nullptr); });
}

// What every tile must give: the bits of linear.cu, but in sums of floats only where both families add in one
// order, as on the emulated device; elsewhere those of the first tile (docs/cuda.md).
std::vector<float> wanted_bits(const ProductFixture& fixture, const LinearBatchParams& params) {
  if (kFamiliesAddAlike || fixture.variant.format == DType::kInt8) return fixture.run(params);
  return run_tile(fixture, params, tiles_of(fixture.variant, params.linear.output).front());
}

std::string describe(const ProductFixture& fixture, HopperTile tile) {
  const LinearParams& p = fixture.reference;
  return fmt::format("{} tile {} x {} x {}, T {} K {} N {} output {}", fixture.variant.name, tile.warpgroups,
                     tile.span, tile.rows, p.num_tokens, p.num_inputs, p.num_outputs,
                     static_cast<int>(p.output));
}

// Of every tile, in both orders.
void expect_bits_of_linear(const ProductFixture& fixture, const LinearBatchParams& params) {
  const std::vector<float> want = wanted_bits(fixture, params);
  for (HopperTile tile : tiles_of(fixture.variant, params.linear.output)) {
    ASSERT_EQ(run_tile(fixture, params, tile), want) << describe(fixture, tile);
    set_thread_order(ThreadOrder::kBackward);
    ASSERT_EQ(run_tile(fixture, params, tile), want) << describe(fixture, tile) << ", backward";
    set_thread_order(ThreadOrder::kForward);
  }
}

TEST_F(CudaHopperLinear, EveryTileGivesTheBitsOfLinear) {
  int round = 0;
  for (const CudaVariant& variant : hopper_variants()) {
    for (const auto& [num_tokens, num_inputs, num_outputs] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                                              {2, 32, 16},
                                                              {7, 171, 50},
                                                              {20, 96, 134},
                                                              {9, 600, 33}}) {
      const ProductFixture fixture(variant, num_tokens, num_inputs, num_outputs,
                                   static_cast<Output>(round++ % 4));
      ASSERT_NO_FATAL_FAILURE(expect_bits_of_linear(fixture, fixture.device));
    }
  }
}

// More rounds than stages, several chunks, several blocks each way.
TEST_F(CudaHopperLinear, EveryTileInSeveralBlocks) {
  for (const CudaVariant& variant : hopper_variants()) {
    for (Output output : {Output::kAdd, Output::kSiluMul}) {
      const ProductFixture fixture(variant, 67, 1300, 70, output);
      const std::vector<float> want = wanted_bits(fixture, fixture.device);
      for (HopperTile tile : tiles_of(variant, output))
        ASSERT_EQ(run_tile(fixture, fixture.device, tile), want) << describe(fixture, tile);
    }
  }
}

// More rows and panels than the largest tile has.
TEST_F(CudaHopperLinear, LargestTilesInSeveralBlocks) {
  for (const CudaVariant& variant : hopper_variants()) {
    const ProductFixture fixture(variant, 261, 140, 150, Output::kStore);
    const std::vector<float> want = wanted_bits(fixture, fixture.device);
    const HopperTile tile = tiles_of(variant, Output::kStore).back();
    ASSERT_EQ(run_tile(fixture, fixture.device, tile), want) << describe(fixture, tile);
  }
}

TEST_F(CudaHopperLinear, Outputs16BitsWideAndScalesOfBFloat16) {
  for (DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    for (int64_t num_outputs : {42, 41}) {  // rows of y aligned and not
      const ProductFixture fixture({"bf16", InputForm::kBFloat16, DType::kBFloat16}, 6, 64, num_outputs,
                                   Output::kStore);
      LinearBatchParams params = fixture.device;
      params.y_dtype = dtype;
      params.bfloat16_scales = true;
      params.linear.x_scales = fixture.y_weights.data();
      ASSERT_NO_FATAL_FAILURE(expect_bits_of_linear(fixture, params));
    }
  }
}

TEST_F(CudaHopperLinear, EqualsReference) {
  for (const CudaVariant& variant : hopper_variants()) {
    const ProductFixture fixture(variant, 19, 171, 50, Output::kStore);
    const std::vector<float> got = run_planned(fixture, fixture.device), want = fixture.run_reference();
    const double tolerance = variant.format == DType::kInt8 ? 0 : kEpsilon * (171 + 8) * (171 + 2);
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], want[i], tolerance) << variant.name << " at " << i;
  }
}

// A row's bits whichever tiles the number of rows chooses.
TEST_F(CudaHopperLinear, BitsDependOnTheRowAlone) {
  for (const CudaVariant& variant : kCudaVariants) {
    for (Output output : {Output::kStore, Output::kSiluMul}) {
      const ProductFixture fixture(variant, 70, allowed_inputs(variant, 1131), 40, output);
      LinearBatchParams p = fixture.device;
      p.linear.y_rows = nullptr;
      p.linear.bias = nullptr;
      const std::vector<float> all = run_planned(fixture, p);
      const int64_t row_bytes = rows_per_token(p.linear.form) * p.linear.x_stride *
                                (p.float16_inputs ? 2 : input_bytes(p.linear.form));
      for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 1}, {3, 5}, {55, 15}, {8, 40}}) {
        LinearBatchParams part = p;
        part.linear.x = static_cast<const std::byte*>(p.linear.x) + first * row_bytes;
        part.linear.x_scales = p.linear.x_scales + first;
        part.linear.num_tokens = count;
        const std::vector<float> got = run_planned(fixture, part);
        const int64_t y_stride = p.linear.y_stride;
        for (int64_t i = 0; i < count * y_stride; ++i)
          ASSERT_EQ(got[static_cast<size_t>(i)], all[static_cast<size_t>(first * y_stride + i)])
              << variant.name << " rows from " << first << " at " << i;
      }
    }
  }
}

// Experts' tiles with rows picked by x_rows, an expert that is absent, a tile without tokens; and heads,
// whose tokens are interleaved.
TEST_F(CudaHopperLinear, GroupsGiveTheBitsOfLinear) {
  for (const CudaVariant& variant : hopper_variants()) {
    const int64_t num_tokens = 24;
    const ProductFixture fixture(variant, num_tokens, 96, 40, Output::kStore);
    Values values(17);
    TestMatrix other(values, 40, 96, variant.format);
    const std::vector<cuda::LinearGroup> groups = {
        {fixture.reference.panels, fixture.matrix.scales.data()}, {}, {other.data(), other.scales.data()}};
    const std::vector<cuda::LinearTile> experts = {{2, 0, 8}, {0, 8, 3}, {1, 11, 4}, {0, 15, 0}, {2, 15, 7}};
    std::vector<int32_t> x_rows;
    for (int64_t t = 0; t < num_tokens; ++t) x_rows.push_back(static_cast<int32_t>((t * 5 + 2) % num_tokens));
    LinearBatchParams p = fixture.device;
    p.linear.panels = nullptr;
    p.linear.weight_scales = nullptr;
    p.linear.bias = nullptr;
    p.x_rows = x_rows.data();
    p.groups = groups.data();
    p.num_groups = 3;
    ASSERT_NO_FATAL_FAILURE(expect_bits_of_linear(fixture, p));
    p.tiles = experts.data();
    p.num_tiles = 5;
    p.tile_tokens = 8;
    ASSERT_NO_FATAL_FAILURE(expect_bits_of_linear(fixture, p));
    EXPECT_EQ(run_planned(fixture, p), wanted_bits(fixture, p)) << variant.name;
  }
}

TEST(CudaHopperPlan, FamilyByComputeCapability) {
  using cuda::ProductFamily;
  EXPECT_EQ(cuda::product_family(90), ProductFamily::kWgmma);
  for (int capability : {80, 86, 89, 100, 120})
    EXPECT_EQ(cuda::product_family(capability), ProductFamily::kMmaSync) << capability;
}

TEST(CudaHopperPlan, TilesFitIntoAMultiprocessor) {
  const auto check = [](HopperTile tile) {
    const auto bytes = static_cast<size_t>(cuda::num_stages(tile)) * cuda::stage_bytes(tile);
    EXPECT_GE(cuda::num_stages(tile), 4);
    // A multiprocessor has 228 KiB, of which each block takes one more.
    if (tile.warpgroups == 2) {
      EXPECT_LE(bytes, size_t{210} << 10);
    } else {
      EXPECT_LE(3 * bytes, size_t{216} << 10);
    }
  };
  for (HopperTile tile : cuda::kFloatTiles) check(tile);
  for (HopperTile tile : cuda::kInt8Tiles) check(tile);
}

LinearSizes sizes_of(int64_t rows, int64_t num_panels) {
  return {.max_rows = rows, .num_items = 1, .num_panels = num_panels};
}

TEST(CudaHopperPlan, Tiles) {
  using cuda::plan_hopper;
  // One token of DeepSeek-V2-Lite's output projection: as many blocks as can be.
  EXPECT_EQ(plan_hopper(sizes_of(1, 128)), cuda::kStream8);
  EXPECT_EQ(plan_hopper(sizes_of(9, 128)), cuda::kStream16);
  // Six experts: gate and up are in one block.
  LinearSizes experts = sizes_of(1, 176);
  experts.num_items = 6;
  experts.panels_per_output = 2;
  EXPECT_EQ(plan_hopper(experts), cuda::kPairStream8);
  experts.max_rows = 16;
  EXPECT_EQ(plan_hopper(experts), cuda::kPairStream16);
  // Prompts: 2048 rows by 2048 outputs are 256 tiles of 128 x 128, less than two for each multiprocessor;
  // many more outputs want the larger tile.
  EXPECT_EQ(plan_hopper(sizes_of(2048, 128)), cuda::kTile128);
  EXPECT_EQ(plan_hopper(sizes_of(2048, 1368)), cuda::kFloatTile192);
  LinearSizes int8 = sizes_of(4096, 1368);
  int8.exact_sums = true;
  EXPECT_EQ(plan_hopper(int8), cuda::kInt8Tile256);
  int8.max_rows = 17;
  int8.num_panels = 128;
  EXPECT_EQ(plan_hopper(int8), cuda::kTile64);
}

// No other tile is cheaper, at any size, and pairs of panels are in one block.
TEST(CudaHopperPlan, LeastCycles) {
  for (int64_t rows : {1, 8, 16, 17, 32, 64, 65, 500, 4096}) {
    for (int64_t num_panels : {2, 36, 128, 6400}) {
      for (int panels_per_output : {1, 2}) {
        LinearSizes sizes = sizes_of(rows, num_panels);
        sizes.panels_per_output = panels_per_output;
        const HopperTile planned = cuda::plan_hopper(sizes);
        EXPECT_EQ(planned.span % panels_per_output, 0);
        for (HopperTile tile : cuda::kFloatTiles) {
          if (tile.span % panels_per_output == 0) {
            EXPECT_GE(hopper_cycles(tile, sizes), hopper_cycles(planned, sizes));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
