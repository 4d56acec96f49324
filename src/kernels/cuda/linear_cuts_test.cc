// The cuts of a linear give the same bits, and the plan that chooses among them.
#include "kernels/cuda/linear_test_support.h"
#include "kernels/cuda/linear_work.h"

namespace fathom::kernels::cuda_emulated {
namespace {

using cuda::LinearCut;
using cuda::LinearPlan;
using cuda::LinearSizes;
using cuda::TileSize;

std::vector<float> run_cut(const ProductFixture& fixture, const LinearPlan& plan) {
  std::vector<float> y(fixture.y_size(), 0.5f);
  Launched launched = describe_launch(fixture.device);
  launched.batch.linear.y = y.data();
  EXPECT_EQ(plan.cut == LinearCut::kStream ? launch_stream(launched, plan.stream, nullptr)
                                           : launch_tile(launched, plan.tile, nullptr),
            0);
  return y;
}

// Three chunks and a part of a stage of 16-bit inputs; every number of warps that a streaming block can have.
TEST(CudaLinearCuts, GiveTheSameBits) {
  for (const CudaVariant& variant : kCudaVariants) {
    if (variant.form == InputForm::kFloat32 && !variant.float16_inputs) continue;
    for (Output output : {Output::kStore, Output::kSiluMul}) {
      for (int64_t num_tokens : {1, 7, 8}) {
        const ProductFixture fixture(variant, num_tokens, allowed_inputs(variant, 1131), 40, output);
        const std::vector<float> small = run_cut(fixture, {.tile = TileSize::kSmall});
        EXPECT_EQ(run_cut(fixture, {.tile = TileSize::kMedium}), small) << variant.name;
        EXPECT_EQ(run_cut(fixture, {.tile = TileSize::kLarge}), small) << variant.name;
        const LinearSizes sizes = linear_sizes(describe_launch(fixture.device));
        for (int warps = sizes.panels_per_output; warps <= cuda::kStreamWarps; ++warps) {
          const LinearPlan stream{.cut = LinearCut::kStream, .stream = cuda::plan_stream(sizes, warps)};
          ASSERT_EQ(run_cut(fixture, stream), small)
              << variant.name << " T " << num_tokens << " warps " << warps;
        }
      }
    }
  }
}

// More than a large tile's rows and panels.
TEST(CudaLinearCuts, TilesGiveTheSameBitsInEitherThreadOrder) {
  for (const CudaVariant& variant : kCudaVariants) {
    if (variant.form == InputForm::kFloat32 && !variant.float16_inputs) continue;
    const ProductFixture fixture(variant, 137, allowed_inputs(variant, 531), 150, Output::kStore);
    const std::vector<float> small = run_cut(fixture, {.tile = TileSize::kSmall});
    for (TileSize size : {TileSize::kMedium, TileSize::kLarge}) {
      EXPECT_EQ(run_cut(fixture, {.tile = size}), small) << variant.name;
      set_thread_order(ThreadOrder::kBackward);
      EXPECT_EQ(run_cut(fixture, {.tile = size}), small) << variant.name << " backward";
      set_thread_order(ThreadOrder::kForward);
    }
  }
}

constexpr LinearSizes kQueries{.max_rows = 1,
                               .num_items = 1,
                               .num_panels = 192,
                               .num_steps = 64,
                               .panel_stage_bytes = 2048,
                               .exact_sums = true};

LinearPlan plan_rows(int64_t max_rows, LinearSizes sizes = kQueries) {
  sizes.max_rows = max_rows;
  return cuda::plan_linear(sizes, kMaxSharedBytes);
}

TEST(CudaLinearPlan, RowsChooseTheCut) {
  EXPECT_EQ(plan_rows(1).stream.products, 1);
  EXPECT_EQ(plan_rows(8).stream.products, 1);
  EXPECT_EQ(plan_rows(9).stream.products, 2);
  EXPECT_EQ(plan_rows(16).cut, LinearCut::kStream);
  EXPECT_EQ(plan_rows(17).cut, LinearCut::kTile);
  EXPECT_EQ(plan_rows(32).tile, TileSize::kSmall);
  EXPECT_EQ(plan_rows(33).tile, TileSize::kMedium);
  EXPECT_EQ(plan_rows(256).tile, TileSize::kMedium);  // 48 large blocks
  EXPECT_EQ(plan_rows(2048).tile, TileSize::kLarge);
}

TEST(CudaLinearPlan, SmallMatricesAreSplitFurther) {
  EXPECT_EQ(plan_rows(1).stream.splits, 8);
  LinearSizes head = kQueries;
  head.num_panels = 6400;
  EXPECT_EQ(plan_rows(1, head).stream.splits, 1);
  EXPECT_EQ(plan_rows(1, head).stream.panel_bits, 3);
  LinearSizes floats = kQueries;
  floats.exact_sums = false;
  floats.num_steps = 128;
  EXPECT_EQ(plan_rows(1, floats).stream.splits, 4);
  EXPECT_EQ(plan_rows(1, floats).stream.panel_bits, 0);
  floats.num_steps = 320;  // ten chunks in two rounds
  EXPECT_EQ(plan_rows(1, floats).stream.splits, 5);
}

// Whatever the sizes: every stage in one unit, every unit a warp's, pairs of panels in one block, and memory
// for it.
TEST(CudaLinearPlan, StreamsCoverEverySizeWithinTheirMemory) {
  for (int64_t max_rows = 1; max_rows <= 16; ++max_rows) {
    for (int64_t num_steps : {1, 2, 6, 44, 64, 160, 342, 684, 4096}) {
      for (int64_t num_panels : {2, 36, 704, 12800}) {
        for (int panels_per_output : {1, 2}) {
          for (bool exact_sums : {false, true}) {
            const LinearPlan plan = plan_rows(max_rows, {.num_items = 1,
                                                         .num_panels = num_panels,
                                                         .num_steps = num_steps,
                                                         .panels_per_output = panels_per_output,
                                                         .panel_stage_bytes = 2048,
                                                         .exact_sums = exact_sums});
            if (plan.cut == LinearCut::kTile) {
              EXPECT_GT(num_steps, 684);
              continue;
            }
            const cuda::StreamPlan& stream = plan.stream;
            const int64_t stages = (num_steps + 3) / 4;
            EXPECT_GE(stream.num_units * stream.unit_stages, stages);
            EXPECT_LT((stream.num_units - 1) * stream.unit_stages, stages);
            EXPECT_TRUE(exact_sums || stream.unit_stages == cuda::kChunkStages);
            EXPECT_LE(stream.splits, stream.num_units);
            EXPECT_LE(stream.splits << stream.panel_bits, cuda::kStreamWarps);
            EXPECT_EQ((1 << stream.panel_bits) % panels_per_output, 0);
            EXPECT_LE(stream.shared_bytes, kMaxSharedBytes);
          }
        }
      }
    }
  }
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
