// Pinned host memory that grows: where copies between host and device begin and end.
#pragma once

#include <algorithm>
#include <bit>

#include "device/cuda/cuda_device.h"
#include "device/device_buffer.h"

namespace fathom {

class PinnedRoom {
 public:
  explicit PinnedRoom(const CudaDevice& device) : device_(device) {}

  // At least so many bytes, the same address until it has to grow; what was there is lost then.
  // Precondition: no copy to or from it is under way.
  Result<std::byte*> reserve(size_t bytes) {
    if (buffer_.bytes() < std::max<size_t>(bytes, 1)) {
      const size_t wanted = std::bit_ceil(std::max<size_t>(bytes, 1));
      buffer_ = DeviceBuffer();
      FATHOM_ASSIGN_OR_RETURN(void* data, device_.allocate_host(wanted));
      buffer_ = DeviceBuffer(data, wanted, device_.release_host);
    }
    return static_cast<std::byte*>(buffer_.data());
  }
  size_t bytes() const { return buffer_.bytes(); }

 private:
  CudaDevice device_;
  DeviceBuffer buffer_;
};

}  // namespace fathom
