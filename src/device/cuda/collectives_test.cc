// Sums and gathers of what lies in devices' memory, over threads as ranks: staged and by a fake NCCL the bits
// of the host's communicator, which cannot touch a device's memory.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/random.h"
#include "device/cuda/emulated_device.h"
#include "device/cuda/fake_nccl.h"
#include "device/cuda/nccl_communicator.h"
#include "device/cuda/rank_devices.h"
#include "device/cuda/staged_communicator.h"
#include "parallel/sum_tree.h"
#include "support/rank_threads.h"
#include "support/sanitizer.h"

namespace fathom {
namespace {

// Of magnitudes so different that another order gives other bits.
float value_of(uint64_t rank, uint64_t index) {
  const double exponent = 12 * random_uniform(1, rank * 1'000'003 + index);
  return static_cast<float>((random_uniform(2, rank * 1'000'003 + index) - 0.5) * std::exp2(exponent));
}

std::vector<float> values_of(int rank, int64_t count) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(value_of(static_cast<uint64_t>(rank), static_cast<uint64_t>(i)));
  return values;
}

std::vector<float> sum_of(int num_ranks, int64_t count) {
  std::vector<TreeBranch> leaves;
  std::vector<std::vector<float>> values;
  std::vector<const float*> pointers;
  for (int rank = 0; rank < num_ranks; ++rank) {
    leaves.push_back({rank, rank + 1});
    values.push_back(values_of(rank, count));
  }
  for (const auto& of_rank : values) pointers.push_back(of_rank.data());
  std::vector<float> sum(static_cast<size_t>(count));
  SumTree(leaves).sum(pointers, count, sum.data());
  return sum;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

enum class Way { kStaged, kNccl };

std::unique_ptr<DeviceCommunicator> make_way(Way way, Communicator& host, const CudaDevice& device) {
  if (way == Way::kStaged) return std::make_unique<StagedCommunicator>(host, device, host.size());
  auto made = NcclCommunicator::create(host, device, FakeNccl::table());
  EXPECT_TRUE(made.ok()) << made.status().message();
  return std::move(made).value();
}

// A rank's floats on the device, and back.
class DeviceFloats {
 public:
  DeviceFloats(const CudaDevice& device, const std::vector<float>& values)
      : device_(device), size_(values.size() * sizeof(float)) {
    buffer_ = DeviceBuffer(device.allocate(size_ + 1).value(), size_ + 1, device.release);
    EXPECT_TRUE(device.upload(values.data(), buffer_.data(), size_, nullptr).ok());
  }
  float* data() const { return buffer_.floats(); }
  std::vector<float> values() const {
    std::vector<float> all(size_ / sizeof(float));
    EXPECT_TRUE(device_.download_later(data(), all.data(), size_, nullptr).ok());
    return all;
  }

 private:
  CudaDevice device_;
  size_t size_;
  DeviceBuffer buffer_;
};

TEST(SumRanks, AddsInTheOrderOfTheTree) {
  if (!testing::kFibersRun) GTEST_SKIP() << "no fibers under ThreadSanitizer";
  const CudaDevice device = emulated_device();
  constexpr int64_t kCount = 37, kStride = 40;
  for (int num_ranks = 1; num_ranks <= kernels::cuda::kMaxSummedRanks; ++num_ranks) {
    const std::vector<float> want = sum_of(num_ranks, kCount);
    for (int own_rank : {0, num_ranks / 2, num_ranks - 1}) {
      std::vector<float> values(static_cast<size_t>(num_ranks * kStride), NAN);
      for (int rank = 0; rank < num_ranks; ++rank) {
        const std::vector<float> of_rank = values_of(rank, kCount);
        if (rank != own_rank) std::copy(of_rank.begin(), of_rank.end(), values.begin() + rank * kStride);
      }
      const DeviceFloats others(device, values), own(device, values_of(own_rank, kCount));
      ASSERT_EQ(device.kernels.sum_ranks({.own = own.data(),
                                          .others = others.data(),
                                          .others_stride = kStride,
                                          .own_rank = own_rank,
                                          .num_ranks = num_ranks,
                                          .sum = own.data(),
                                          .count = kCount},
                                         device.stream),
                0);
      ASSERT_TRUE(same_bits(own.values(), want)) << num_ranks << " ranks, own " << own_rank;
    }
  }
}

class Collectives : public ::testing::TestWithParam<Way> {
 protected:
  // Calls work with the rank's DeviceCommunicator and device on as many threads.
  template <typename Work>
  void on_devices(int num_ranks, const Work& work) {
    testing::on_ranks(num_ranks, [&](int, Communicator& group) {
      const CudaDevice device = emulated_device();
      {
        const auto ranks = make_way(GetParam(), group, device);
        work(*ranks, device);
      }
      EXPECT_TRUE(group.finish().ok());
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, Collectives, ::testing::Values(Way::kStaged, Way::kNccl),
                         [](const auto& way) { return way.param == Way::kStaged ? "staged" : "nccl"; });

// None, one, tails, the longest that is added by all and one more, and what does not divide.
TEST_P(Collectives, SumsAreThoseOfTheHostsCommunicator) {
  if (!testing::kFibersRun) GTEST_SKIP() << "no fibers under ThreadSanitizer";
  for (int num_ranks : {1, 2, 3, 4, 7}) {
    std::vector<int64_t> counts = {0, 1, 33, 1000};
    if (num_ranks <= 4) counts.insert(counts.end(), {65536, 65537, 70001});
    std::vector<std::vector<float>> want;
    for (int64_t count : counts) want.push_back(sum_of(num_ranks, count));
    on_devices(num_ranks, [&](DeviceCommunicator& ranks, const CudaDevice& device) {
      for (size_t i = 0; i < counts.size(); ++i) {
        const DeviceFloats floats(device, values_of(ranks.rank(), counts[i]));
        const Status status = ranks.all_reduce_sum(floats.data(), counts[i]);
        EXPECT_TRUE(status.ok()) << status.message();
        EXPECT_TRUE(same_bits(floats.values(), want[i]))
            << counts[i] << " floats of rank " << ranks.rank() << " of " << num_ranks;
      }
    });
  }
}

TEST_P(Collectives, PartsOfAnySizeAreGathered) {
  if (!testing::kFibersRun) GTEST_SKIP() << "no fibers under ThreadSanitizer";
  constexpr int kRanks = 4;
  const std::vector<std::vector<size_t>> cases = {
      {0, 8, 16, 24, 32}, {0, 0, 40, 40, 44}, {0, 4, 4, 4, 4}, {0, 0, 0, 0, 4000}, {0, 0, 0, 0, 0}};
  on_devices(kRanks, [&](DeviceCommunicator& ranks, const CudaDevice& device) {
    for (const std::vector<size_t>& starts : cases) {
      std::vector<float> own(starts.back() / sizeof(float) + 3, -1.0f), want = own;
      for (size_t rank = 0; rank < kRanks; ++rank) {
        for (size_t i = starts[rank] / sizeof(float); i < starts[rank + 1] / sizeof(float); ++i) {
          want[i] = value_of(rank, i);
          if (static_cast<int>(rank) == ranks.rank()) own[i] = want[i];
        }
      }
      const DeviceFloats floats(device, own);
      const Status status = ranks.all_gather_parts(floats.data(), starts);
      EXPECT_TRUE(status.ok()) << status.message();
      EXPECT_TRUE(same_bits(floats.values(), want)) << "rank " << ranks.rank();
    }
  });
}

TEST_P(Collectives, NothingIsGivenAfterARankHasFailed) {
  if (!testing::kFibersRun) GTEST_SKIP() << "no fibers under ThreadSanitizer";
  testing::on_ranks(2, [&](int rank, Communicator& group) {
    const auto ranks = make_way(GetParam(), group, emulated_device());
    EXPECT_TRUE(group.barrier().ok());
    if (rank == 1) {
      group.fail("it has no more memory");
      return;
    }
    const DeviceFloats values(emulated_device(), {1, 2, 3, 4});
    while (group.health().ok()) std::this_thread::yield();  // until it is known here
    const Status status = ranks->all_reduce_sum(values.data(), 4);
    EXPECT_EQ(status.message(), "rank 1 on node 0 failed: it has no more memory");
  });
}

thread_local bool is_busy = false;

// The kernels of a lost rank's peers would wait for it for ever.
TEST(Nccl, AWaitEndsWhereARankIsLost) {
  if (!testing::kFibersRun) GTEST_SKIP() << "no fibers under ThreadSanitizer";
  testing::on_ranks(2, [](int rank, Communicator& group) {
    CudaDevice device = emulated_device();
    device.is_idle = [](void*) { return Result<bool>(!is_busy); };
    auto ranks = NcclCommunicator::create(group, device, FakeNccl::table());
    ASSERT_TRUE(ranks.ok()) << ranks.status().message();
    EXPECT_TRUE(group.barrier().ok());
    if (rank == 1) {
      group.fail("it was unplugged");
      return;
    }
    is_busy = true;
    const Status status = (*ranks)->wait();
    EXPECT_EQ(status.message(), "rank 1 on node 0 failed: it was unplugged");
    is_busy = false;
    EXPECT_FALSE((*ranks)->wait().ok());
  });
}

RankDevice with_uuid(char first, int version) {
  RankDevice device{.nccl_version = version};
  device.uuid[0] = first;
  return device;
}

TEST(RankDevices, NcclWantsAGpuARankAndOneVersion) {
  const NodeLayout layout{.rank = 2, .node_of = {0, 0, 1, 1}};
  const auto plan = [&](std::vector<RankDevice> devices) { return plan_rank_devices(devices, layout); };
  const RankDevices own =
      plan({with_uuid(1, 23203), with_uuid(2, 23203), with_uuid(3, 23203), with_uuid(4, 23203)});
  EXPECT_TRUE(own.has_nccl);
  EXPECT_EQ(own.num_sharing, 1);
  const RankDevices shared =
      plan({with_uuid(1, 23203), with_uuid(2, 23203), with_uuid(3, 23203), with_uuid(3, 23203)});
  EXPECT_FALSE(shared.has_nccl);
  EXPECT_EQ(shared.num_sharing, 2);
  EXPECT_EQ(shared.reason, "ranks 2 and 3 share a GPU");
  EXPECT_EQ(plan({with_uuid(1, 23203), with_uuid(2, 0), with_uuid(3, 23203), with_uuid(4, 0)}).reason,
            "rank 1 has no NCCL");
  EXPECT_EQ(plan({with_uuid(1, 23203), with_uuid(2, 23203), with_uuid(3, 22703), with_uuid(4, 23203)}).reason,
            "ranks 0 and 2 have different versions of NCCL");
}

}  // namespace
}  // namespace fathom
