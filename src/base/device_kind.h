// What computes a model.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fathom {

// The CPUs of this machine, or one CUDA GPU a process.
enum class DeviceKind : uint8_t { kCpu, kCuda };

inline std::string_view device_name(DeviceKind device) { return device == DeviceKind::kCpu ? "cpu" : "cuda"; }

inline std::optional<DeviceKind> device_from_name(std::string_view name) {
  for (DeviceKind device : {DeviceKind::kCpu, DeviceKind::kCuda})
    if (name == device_name(device)) return device;
  return std::nullopt;
}

}  // namespace fathom
