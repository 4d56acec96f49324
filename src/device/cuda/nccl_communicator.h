// Collectives between GPUs by NCCL's sends and receives, each rank with a GPU of its own, as operations of
// the device's stream that nothing on the host waits for. Sums are taken by a kernel of ours, since NCCL's
// own depend in their order on the number of ranks, the size and how GPUs are connected.
//
// A short sum: every rank gets the others' values and adds all, one exchange. A longer one: every rank adds a
// share of the elements, and the shares are gathered: 2 (N - 1) / N times the sum's bytes arrive at each
// instead of N - 1 times.
#pragma once

#include <memory>

#include "base/thread_team.h"
#include "device/cuda/cuda_device.h"
#include "device/device_buffer.h"
#include "device/device_communicator.h"

namespace fathom {

class NcclCommunicator final : public DeviceCommunicator {
 public:
  // All ranks call it together; it returns when they are connected.
  static Result<std::unique_ptr<NcclCommunicator>> create(Communicator& host, const CudaDevice& device,
                                                          const Nccl& nccl);
  ~NcclCommunicator() override;

  int num_sharing_memory() const override { return 1; }
  Status all_reduce_sum(float* values, int64_t count) override;
  Status all_gather_parts(void* all, std::span<const size_t> starts) override;
  // Returns when the stream has done all it was given. Where a rank is lost, which would be never, what is
  // under way is ended.
  Status wait();

 private:
  NcclCommunicator(Communicator& host, const CudaDevice& device, const Nccl& nccl)
      : DeviceCommunicator(host), device_(device), nccl_(nccl) {}
  Status join();
  Status check(int result, const char* call) const;
  // What goes to a peer and comes from it between begin() and end(); nothing where size is 0.
  Status send(const void* data, size_t size, int peer);
  Status receive(void* data, size_t size, int peer);
  Status reserve(size_t bytes);
  void abort();

  CudaDevice device_;
  Nccl nccl_;
  void* comm_ = nullptr;  // null: not yet, or no longer
  DeviceBuffer arrived_;  // the others' values of a sum
};

}  // namespace fathom
