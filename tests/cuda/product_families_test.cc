// The products of a real GPU: wgmma against mma.sync, the first thing to run on a Hopper GPU (docs/cuda.md).
// int8 must agree bit for bit; 16-bit floats within what tensor cores may lose, and all tiles of wgmma bit
// for bit with each other. Skipped where there is no such device.
#include <gtest/gtest.h>

#include <cmath>

#include "device/cuda/cuda_device.h"
#include "kernels/cuda/kernels.h"
#include "kernels/test_support.h"

namespace fathom::kernels {
namespace {

using cuda::HopperTile;

// A tile; none: linear.cu.
constexpr HopperTile kMmaSync = {};

constexpr int64_t kInputs = 2200;  // five chunks, the last one short; not a whole number of stages
constexpr int64_t kTokens = 300;
constexpr int64_t kOutputs = 200;

class OnHopper : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (count_cuda_devices() == 0) return;
    auto opened = open_cuda_device(0);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    device = *opened;
  }
  void SetUp() override {
    if (device.allocate == nullptr) GTEST_SKIP() << "no CUDA device";
    if (cuda::product_family(device.facts.compute_capability) != cuda::ProductFamily::kWgmma)
      GTEST_SKIP() << device.facts.name << " has no wgmma";
  }
  void TearDown() override {
    for (const auto& [data, bytes] : buffers) device.release(data, bytes);
  }
  void* allocate(size_t bytes) {
    auto data = device.allocate(bytes);
    EXPECT_TRUE(data.ok()) << data.status().message();
    buffers.emplace_back(*data, bytes);
    return *data;
  }
  template <typename T>
  const T* upload(const T* host, size_t count) {
    void* data = allocate(count * sizeof(T));
    EXPECT_TRUE(device.upload(host, data, count * sizeof(T), device.stream).ok());
    return static_cast<const T*>(data);
  }
  std::vector<float> run(cuda::LinearBatchParams p, HopperTile tile) {
    const auto count = static_cast<size_t>(p.linear.num_tokens * p.linear.y_stride);
    std::vector<float> y(count, -1.0f);
    p.linear.y = const_cast<float*>(upload(y.data(), count));
    EXPECT_EQ(tile == kMmaSync ? cuda_device::linear(p, device.stream)
                               : cuda_device::linear_hopper_tile(p, tile, device.stream),
              0);
    EXPECT_TRUE(device.download_later(p.linear.y, y.data(), count * sizeof(float), device.stream).ok());
    EXPECT_TRUE(device.synchronize(device.stream).ok());
    return y;
  }
  cuda::LinearBatchParams random_product(InputForm form, DType format, LinearParams::Output output) {
    Values values(kTokens);
    const bool is_paired = output == LinearParams::Output::kSiluMul;
    TestMatrix matrix(values, kOutputs, kInputs, format,
                      is_paired ? PanelOrder::kGateUpPairs : PanelOrder::kPlain);
    TestRows rows(strided(values, kTokens, kInputs, kInputs), kTokens, kInputs, kInputs, form, matrix.format,
                  0);
    const bool is_float16 = format == DType::kFloat16;
    if (is_float16) {
      rows.bytes.resize(static_cast<size_t>(kTokens * rows.stride) * sizeof(uint16_t));
      for (int64_t i = 0; i < kTokens * rows.stride; ++i)
        ref::store_element(rows.bytes.data(), DType::kFloat16, i,
                           i % rows.stride < kInputs ? values.next() : 0);
      std::fill(rows.scales.begin(), rows.scales.end(), 1.0f);
    }
    const auto panel_count = static_cast<size_t>(matrix.num * panel_bytes(kInputs, matrix.format));
    return {.linear = {.x = upload(rows.bytes.data(), rows.bytes.size()),
                       .x_scales = upload(rows.scales.data(), rows.scales.size()),
                       .form = form,
                       .x_stride = rows.stride,
                       .panels = upload(static_cast<const std::byte*>(matrix.data()), panel_count),
                       .weight_scales = upload(matrix.scales.data(), matrix.scales.size()),
                       .format = matrix.format,
                       .y_stride = kOutputs,
                       .output = output,
                       .num_tokens = kTokens,
                       .num_inputs = kInputs,
                       .num_outputs = kOutputs,
                       .end = matrix.num},
            .float16_inputs = is_float16};
  }

  void compare_floats(InputForm form, DType format);

  static inline CudaDevice device;
  std::vector<std::pair<void*, size_t>> buffers;
};

TEST_F(OnHopper, Int8TilesGiveTheBitsOfMmaSync) {
  for (InputForm form : {InputForm::kInt8, InputForm::kInt8Pair}) {
    for (auto output : {LinearParams::Output::kStore, LinearParams::Output::kSiluMul}) {
      const auto p = random_product(form, DType::kInt8, output);
      const std::vector<float> want = run(p, kMmaSync);
      for (HopperTile tile : cuda::kInt8Tiles)
        EXPECT_EQ(run(p, tile), want) << "tile of " << tile.rows << " rows, form " << static_cast<int>(form);
    }
  }
}

void OnHopper::compare_floats(InputForm form, DType format) {
  const auto p = random_product(form, format, LinearParams::Output::kStore);
  const std::vector<float> mma_sync = run(p, kMmaSync), first = run(p, cuda::kTile128);
  // Sums are below kInputs; each of kInputs / 16 additions of a family may lose 2^-23 of that, and as much
  // again where it aligns its 17 terms.
  const double tolerance = kEpsilon * static_cast<double>(kInputs * (kInputs + 16));
  bool are_equal = true;
  for (size_t i = 0; i < first.size(); ++i) {
    ASSERT_NEAR(first[i], mma_sync[i], tolerance) << "at " << i;
    are_equal = are_equal && first[i] == mma_sync[i];
  }
  for (HopperTile tile : cuda::kFloatTiles)
    EXPECT_EQ(run(p, tile), first) << "tile of " << tile.span << " panels by " << tile.rows << " rows";
  std::printf("wgmma and mma.sync give %s bits\n", are_equal ? "the same" : "different");
}

TEST_F(OnHopper, BFloat16TilesAgree) { compare_floats(InputForm::kBFloat16, DType::kBFloat16); }
TEST_F(OnHopper, Float16TilesAgree) { compare_floats(InputForm::kFloat32, DType::kFloat16); }

// Pairs of gate and up.
TEST_F(OnHopper, FloatPairsAgree) {
  const auto p = random_product(InputForm::kBFloat16, DType::kBFloat16, LinearParams::Output::kSiluMul);
  const std::vector<float> first = run(p, cuda::kTile128);
  for (HopperTile tile : cuda::kFloatTiles) {
    if (tile.span == 1) continue;
    EXPECT_EQ(run(p, tile), first) << "tile of " << tile.span << " panels by " << tile.rows << " rows";
  }
}

}  // namespace
}  // namespace fathom::kernels
