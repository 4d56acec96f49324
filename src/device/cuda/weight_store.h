// Device memory for weights and the way there: pieces are written into pinned host memory and copied while
// the next ones are written. Memory is cut from blocks, since a device gives out whole megabytes; what is
// left of one is for a later weight that fits. Both live as long as the store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/function_ref.h"
#include "device/backend.h"
#include "device/cuda/cuda_device.h"

namespace fathom {

class WeightStore {
 public:
  explicit WeightStore(const CudaDevice& device) : device_(device) {}

  // Writes items [begin, end) of what is to be stored to `to`.
  using Write = FunctionRef<void(int64_t begin, int64_t end, std::byte* to)>;
  // `count` items of item_bytes each in device memory, 256-byte aligned; write is called for consecutive
  // ranges of them, in order, during this call. Copies may still be under way at the return: what the
  // device's stream does later comes after them.
  Result<void*> store(int64_t count, size_t item_bytes, Write write);
  Result<void*> store(const void* host, size_t bytes);

 private:
  static constexpr int kNumStages = 2;

  struct Block {
    DeviceBuffer memory;
    size_t used = 0;  // bytes
  };

  Result<std::byte*> place(size_t bytes);
  Result<std::byte*> stage(size_t bytes);

  CudaDevice device_;
  std::vector<Block> blocks_;
  DeviceBuffer stages_[kNumStages];
  int stage_ = 0;      // being filled
  size_t staged_ = 0;  // bytes of it
};

}  // namespace fathom
