// The heap of the kernels' tests on a GPU (cuda_device_test): all of it is host memory that the device can
// read and write at the same addresses, so that the tests hand their vectors to kernels as they do in the
// emulation. A launch is waited for before it returns.
//
// Linked into one program only. Blocks come from one pinned arena, in powers of two, and go to a list of
// their size when they are deleted.
#include <cuda_runtime_api.h>
#include <unistd.h>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/hopper_plan.h"

namespace fathom::kernels::cuda_device {

// Threads of a device have no order.
void set_thread_order(ThreadOrder) {}

bool has_wgmma() {
  int major = 0, minor = 0;
  return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess &&
         cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) == cudaSuccess &&
         cuda::product_family(10 * major + minor) == cuda::ProductFamily::kWgmma;
}

}  // namespace fathom::kernels::cuda_device

namespace {

constexpr size_t kArenaBytes = size_t{1} << 30;
constexpr size_t kAlignment = 64;
constexpr int kNoTest = 77;

class PinnedHeap {
 public:
  void* allocate(size_t bytes) {
    // What CUDA itself allocates while it starts.
    if (starts_) return std::malloc(bytes);
    const std::lock_guard lock(mutex_);
    if (arena_ == nullptr) start();
    const auto size_class = static_cast<size_t>(std::bit_width(bytes + kAlignment - 1));
    Block*& free = free_[size_class];
    if (free != nullptr) return data_of(std::exchange(free, free->next));
    const size_t size = size_t{1} << size_class;
    if (size > kArenaBytes - used_) {
      std::fprintf(stderr, "the pinned heap of %zu bytes is full\n", kArenaBytes);
      std::abort();
    }
    auto* block = reinterpret_cast<Block*>(arena_ + used_);
    used_ += size;
    block->size_class = size_class;
    return data_of(block);
  }

  void release(void* data) {
    const auto* byte = static_cast<const std::byte*>(data);
    if (arena_ == nullptr || byte < arena_ || byte >= arena_ + kArenaBytes) return std::free(data);
    const std::lock_guard lock(mutex_);
    auto* block = reinterpret_cast<Block*>(static_cast<std::byte*>(data) - kAlignment);
    block->next = std::exchange(free_[block->size_class], block);
  }

 private:
  // In front of a block's data.
  struct Block {
    size_t size_class;
    Block* next;
  };

  static void* data_of(Block* block) { return reinterpret_cast<std::byte*>(block) + kAlignment; }

  void start() {
    starts_ = true;
    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    void* arena = nullptr;
    const cudaError_t error = cudaHostAlloc(&arena, kArenaBytes, cudaHostAllocDefault);
    if (error != cudaSuccess) {
      std::fprintf(stderr, "skipped: no memory that a GPU can read: %s\n", cudaGetErrorString(error));
      _exit(kNoTest);
    }
    arena_ = static_cast<std::byte*>(arena);
    starts_ = false;
  }

  std::mutex mutex_;
  std::byte* arena_ = nullptr;
  size_t used_ = 0;
  bool starts_ = false;
  Block* free_[64] = {};
};

constinit PinnedHeap heap;

}  // namespace

void* operator new(size_t bytes) { return heap.allocate(bytes); }
void* operator new[](size_t bytes) { return heap.allocate(bytes); }
void* operator new(size_t bytes, std::align_val_t) { return heap.allocate(bytes); }
void* operator new[](size_t bytes, std::align_val_t) { return heap.allocate(bytes); }
void operator delete(void* data) noexcept { heap.release(data); }
void operator delete[](void* data) noexcept { heap.release(data); }
void operator delete(void* data, size_t) noexcept { heap.release(data); }
void operator delete[](void* data, size_t) noexcept { heap.release(data); }
void operator delete(void* data, std::align_val_t) noexcept { heap.release(data); }
void operator delete[](void* data, std::align_val_t) noexcept { heap.release(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { heap.release(data); }
void operator delete[](void* data, size_t, std::align_val_t) noexcept { heap.release(data); }
