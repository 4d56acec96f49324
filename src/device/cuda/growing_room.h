// Memory that grows: what was in it is lost then, and no graph may have its address.
#pragma once

#include <algorithm>
#include <bit>

#include "device/cuda/cuda_device.h"
#include "device/device_buffer.h"

namespace fathom {

class GrowingRoom {
 public:
  // At least so many bytes, the same address until it has to grow. Precondition: no copy to or from it is
  // under way.
  Result<std::byte*> reserve(size_t bytes) {
    if (buffer_.bytes() < std::max<size_t>(bytes, 1)) {
      const size_t wanted = std::bit_ceil(std::max<size_t>(bytes, 1));
      buffer_ = DeviceBuffer();
      FATHOM_ASSIGN_OR_RETURN(void* data, allocate_(wanted));
      buffer_ = DeviceBuffer(data, wanted, release_);
    }
    return static_cast<std::byte*>(buffer_.data());
  }
  size_t bytes() const { return buffer_.bytes(); }

 protected:
  using Allocate = Result<void*> (*)(size_t bytes);
  GrowingRoom(Allocate allocate, DeviceBuffer::Release release) : allocate_(allocate), release_(release) {}

 private:
  Allocate allocate_;
  DeviceBuffer::Release release_;
  DeviceBuffer buffer_;
};

// Pinned memory of the host, where copies between host and device begin and end.
class PinnedRoom : public GrowingRoom {
 public:
  explicit PinnedRoom(const CudaDevice& device) : GrowingRoom(device.allocate_host, device.release_host) {}
};

class DeviceRoom : public GrowingRoom {
 public:
  explicit DeviceRoom(const CudaDevice& device) : GrowingRoom(device.allocate, device.release) {}
};

}  // namespace fathom
