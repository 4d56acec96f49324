// What the CUDA kernels use of CUDA: indices, barriers, warp collectives, shared memory, tensor-core
// products, asynchronous copies, launches. Under nvcc the names are CUDA's own; compiled as plain C++ they
// are computed by emulated_grid.h, in a namespace of its own, so that tests run the same kernel sources
// without a device.
//
// Rules that both sides share: blocks are whole warps; every lane of a warp takes part in a collective; every
// thread of a block reaches a barrier; shared memory is dynamic, carved by SharedMemory in the same order by
// every thread; every thread begins with begin_kernel(), which waits for the kernels before: where the code
// and the GPU are of compute capability 9.0, a launch does not. The emulation ends the process where a kernel
// breaks one of them. Kernels use no atomics: results would depend on their order.
//
// FATHOM_UNROLL stands before a loop over an array that has to stay in registers.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define FATHOM_CUDA_NAMESPACE cuda_device
#define FATHOM_DEVICE __device__ __forceinline__
#define FATHOM_KERNEL(...) static __global__ void __launch_bounds__(__VA_ARGS__)
// Before a loop over arrays that live in registers, and before one that would take too many.
#define FATHOM_UNROLL _Pragma("unroll")
#define FATHOM_KEEP_ROLLED _Pragma("unroll 1")
#else
#define FATHOM_CUDA_NAMESPACE cuda_emulated
#define FATHOM_DEVICE inline
#define FATHOM_KERNEL(...) static void
#define FATHOM_UNROLL
#define FATHOM_KEEP_ROLLED
#endif

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {

inline constexpr int kWarpLanes = 32;
// Bytes of shared memory that a block may use without asking the driver for more, and with: what every GPU
// from sm_80 on has.
inline constexpr size_t kSharedLimit = 48 << 10;
inline constexpr size_t kMaxSharedBytes = 99 << 10;
// At what multiple of bytes a block's shared memory begins.
inline constexpr size_t kSharedAlignment = 1024;

// cudaStream_t, or null in the emulation.
using Stream = void*;
// cudaError_t; 0: launched.
using LaunchError = int;

// A grid of blocks_x * blocks_y blocks. An empty grid is no launch.
struct LaunchShape {
  int64_t blocks_x = 1;
  int64_t blocks_y = 1;
  int threads = kWarpLanes;  // of a block
  size_t shared_bytes = 0;   // at most shared_limit
  Stream stream = nullptr;
  size_t shared_limit = kMaxSharedBytes;  // of the GPUs that have the kernel
};

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE

#ifdef __CUDACC__
#include "kernels/cuda/device_grid.h"
#else
#include "kernels/cuda/emulated_grid.h"
#endif

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {

// Bits instead of a signed division: these are in every inner loop.
FATHOM_DEVICE int lane_index() { return thread_index() & (kWarpLanes - 1); }
FATHOM_DEVICE int warp_index() { return thread_index() >> 5; }

// The sum and the maximum over a warp's lanes, the same bits in every lane: a tree over lane numbers.
FATHOM_DEVICE float warp_sum(float value) {
  for (int step = kWarpLanes / 2; step > 0; step /= 2) value += shuffle_xor(value, step);
  return value;
}
FATHOM_DEVICE float warp_max(float value) {
  for (int step = kWarpLanes / 2; step > 0; step /= 2) {
    const float other = shuffle_xor(value, step);
    value = other > value ? other : value;
  }
  return value;
}

// Floats of shared memory that block_sum and block_max need.
inline constexpr int kReductionFloats = 32;

// The same over a block: warps in order. room is free again at the return.
FATHOM_DEVICE float block_sum(float value, SharedArray<float> room) {
  const float own = warp_sum(value);
  if (lane_index() == 0) room[warp_index()] = own;
  sync_threads();
  float sum = 0;
  for (int i = 0; i < block_threads() / kWarpLanes; ++i) sum += room[i];
  sync_threads();
  return sum;
}
FATHOM_DEVICE float block_max(float value, SharedArray<float> room) {
  const float own = warp_max(value);
  if (lane_index() == 0) room[warp_index()] = own;
  sync_threads();
  float largest = room[0];
  for (int i = 1; i < block_threads() / kWarpLanes; ++i) largest = room[i] > largest ? room[i] : largest;
  sync_threads();
  return largest;
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
