// The collectives of a backend whose memory is the host's: the Communicator's, in place.
#pragma once

#include "device/device_communicator.h"

namespace fathom {

class CpuCommunicator final : public DeviceCommunicator {
 public:
  explicit CpuCommunicator(Communicator& host) : DeviceCommunicator(host) {}

  int num_sharing_memory() const override {
    return static_cast<int>(layout().ranks_of(layout().node()).size());
  }
  Status all_reduce_sum(float* values, int64_t count) override {
    return host().all_reduce_sum({values, static_cast<size_t>(count)});
  }
  Status all_gather_parts(void* all, std::span<const size_t> starts) override {
    return host().all_gather_parts({static_cast<std::byte*>(all), starts.back()}, starts);
  }
};

}  // namespace fathom
