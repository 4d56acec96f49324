// What one GPU can show of several ranks: that NCCL loads and its functions are as device/cuda/nccl.h has
// them, and the staged and the summing kernel's bits on a device. Skipped where there is none.
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "device/cuda/nccl_communicator.h"
#include "device/cuda/staged_communicator.h"
#include "device/device_buffer.h"

namespace fathom {
namespace {

class GpuRanks : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = open_cuda_device(0);
    if (!opened.ok()) GTEST_SKIP() << opened.status().message();
    device_ = *opened;
  }
  DeviceBuffer on_device(const std::vector<float>& values) {
    const size_t bytes = values.size() * sizeof(float);
    DeviceBuffer buffer(device_.allocate(bytes).value(), bytes, device_.release);
    EXPECT_TRUE(device_.upload(values.data(), buffer.data(), bytes, device_.stream).ok());
    return buffer;
  }
  std::vector<float> on_host(const DeviceBuffer& buffer) {
    std::vector<float> values(buffer.bytes() / sizeof(float));
    void* room = device_.allocate_host(buffer.bytes()).value();
    EXPECT_TRUE(device_.download_later(buffer.data(), room, buffer.bytes(), device_.stream).ok());
    EXPECT_TRUE(device_.synchronize(device_.stream).ok());
    std::memcpy(values.data(), room, buffer.bytes());
    device_.release_host(room, buffer.bytes());
    return values;
  }

  CudaDevice device_;
  std::unique_ptr<Communicator> alone_ = make_solo_communicator();
};

std::vector<float> ascending(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.5f);
  return values;
}

TEST_F(GpuRanks, ARankAloneKeepsItsValues) {
  const std::vector<float> values = ascending(70'001);
  const DeviceBuffer buffer = on_device(values);
  StagedCommunicator staged(*alone_, device_, 1);
  ASSERT_TRUE(staged.all_reduce_sum(buffer.floats(), std::ssize(values)).ok());
  EXPECT_EQ(on_host(buffer), values);
  const auto nccl = device_.open_nccl();
  if (!nccl.ok()) GTEST_SKIP() << nccl.status().message();
  const auto ranks = NcclCommunicator::create(*alone_, device_, *nccl);
  ASSERT_TRUE(ranks.ok()) << ranks.status().message();
  const Status status = (*ranks)->all_reduce_sum(buffer.floats(), std::ssize(values));
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE((*ranks)->wait().ok());
  EXPECT_EQ(on_host(buffer), values);
}

TEST_F(GpuRanks, NcclSendsAndReceives) {
  const auto nccl = device_.open_nccl();
  if (!nccl.ok()) GTEST_SKIP() << nccl.status().message();
  NcclId id;
  void* comm = nullptr;
  ASSERT_EQ(nccl->get_unique_id(&id), 0);
  ASSERT_EQ(nccl->comm_init_rank(&comm, 1, id, 0), 0);
  const std::vector<float> values = ascending(1000);
  const DeviceBuffer from = on_device(values), to = on_device(std::vector<float>(1000));
  ASSERT_EQ(nccl->group_start(), 0);
  ASSERT_EQ(nccl->send(from.data(), from.bytes(), kNcclInt8, 0, comm, device_.stream), 0);
  ASSERT_EQ(nccl->recv(to.data(), to.bytes(), kNcclInt8, 0, comm, device_.stream), 0);
  ASSERT_EQ(nccl->group_end(), 0);
  EXPECT_EQ(on_host(to), values);
  int error = -1;
  EXPECT_EQ(nccl->comm_get_async_error(comm, &error), 0);
  EXPECT_EQ(error, 0);
  EXPECT_EQ(nccl->comm_destroy(comm), 0);
}

// Two ranks, of which the second's values are the first's.
TEST_F(GpuRanks, TheKernelAddsWhatTheOthersHave) {
  const std::vector<float> values = ascending(70'001);
  const DeviceBuffer own = on_device(values),
                     others = on_device([&] {
                       std::vector<float> all(2 * values.size());
                       std::copy(values.begin(), values.end(), all.begin() + std::ssize(values));
                       return all;
                     }());
  ASSERT_EQ(device_.kernels.sum_ranks({.own = own.floats(),
                                       .others = others.floats(),
                                       .others_stride = std::ssize(values),
                                       .num_ranks = 2,
                                       .sum = own.floats(),
                                       .count = std::ssize(values)},
                                      device_.stream),
            0);
  const std::vector<float> sum = on_host(own);
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(sum[i], values[i] + values[i]) << i;
}

}  // namespace
}  // namespace fathom
