// Collectives of devices' memory through the host's: down to pinned memory, the Communicator's, up again. Any
// number of ranks may share a GPU.
#pragma once

#include "device/cuda/cuda_device.h"
#include "device/cuda/growing_room.h"
#include "device/device_communicator.h"

namespace fathom {

class StagedCommunicator final : public DeviceCommunicator {
 public:
  StagedCommunicator(Communicator& host, const CudaDevice& device, int num_sharing_memory)
      : DeviceCommunicator(host), device_(device), num_sharing_memory_(num_sharing_memory), room_(device) {}

  int num_sharing_memory() const override { return num_sharing_memory_; }
  Status all_reduce_sum(float* values, int64_t count) override;
  Status all_gather_parts(void* all, std::span<const size_t> starts) override;

 private:
  Result<std::byte*> reserve(size_t bytes);

  CudaDevice device_;
  int num_sharing_memory_;
  PinnedRoom room_;
};

}  // namespace fathom
