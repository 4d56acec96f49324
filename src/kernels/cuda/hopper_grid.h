// What kernels for Hopper (sm_90a) use beyond grid.h: products of a warpgroup (wgmma), whose right operand
// lies in shared memory and which run beside the threads. Included by files named *_hopper.cu only, which
// nvcc compiles for sm_90a alone. As there, device_hopper.h is PTX and emulated_hopper.h plain C++.
//
// A product of 64 x kRows sums, d = a b or d += a b, over one step of 8 words of 4 bytes: 16 inputs of 16
// bits or 32 of int8.
//   a  64 x 8 words in registers: warp w of the warpgroup holds rows [16 w, 16 w + 16) as mma.sync m16n8
//   holds
//      its left operand: words lane % 4 (+4) of rows lane / 4 (+8)
//   b  kRows rows in shared memory, of which a descriptor says where
//   d  thread's d[4 i + e] is row lane / 4 (+8 for e >= 2) of its warp's 16, column 8 i + 2 (lane % 4) (+1
//   for
//      odd e)
//
// Rules (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions"), which the emulation checks where it
// says so:
//   * all four warps of a warpgroup issue the same products                                        (checked)
//   * threads that wrote b call fence_async_proxy() when their writes, or copies, are done, and a barrier
//     lies between that and the product                                                           (checked)
//   * fence_products() after a and d were last written by other means and before the first product of a
//     group; products that follow each other may share d                              (checked once a group)
//   * a, b and d stay as they are until wait_products() says that the group is done           (shows in bits)
#pragma once

#include "kernels/cuda/grid.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {

inline constexpr int kWarpgroupWarps = 4;
inline constexpr int kWarpgroupThreads = kWarpgroupWarps * kWarpLanes;
// Bytes of shared memory that a block may have on compute capability 9.0.
inline constexpr size_t kHopperSharedBytes = 227 << 10;

// The right operand's rows as products want them ("K-major, 128-byte swizzle"): a row is a line of 128 bytes,
// four steps; eight rows follow each other, 1024 aligned bytes; the 16-byte piece p of row r of these lies
// where piece p ^ r would. So eight lanes copy a row's line, and products read eight rows, without bank
// conflicts.
inline constexpr int kSwizzleRowWords = 32;
inline constexpr int kSwizzleRows = 8;
inline constexpr int kSwizzleBytes = 4 * kSwizzleRowWords * kSwizzleRows;
// The word of the line of `row` at which its piece of 16 bytes goes.
FATHOM_DEVICE int swizzled_word(int row, int piece) { return (piece ^ (row % kSwizzleRows)) * 4; }

// PTX ISA, "Matrix Descriptor Format": address of the first row's step, bytes from eight rows to the next
// eight, both in 16 bytes; the leading offset is not used and 1; mode 1 is the swizzle of 128 bytes. The k-th
// step of a line begins 32 k bytes further: the hardware swizzles the address that it reads.
FATHOM_DEVICE uint64_t rows_descriptor(uint32_t address, uint32_t group_bytes) {
  constexpr uint64_t kMode = uint64_t{1} << 62;
  constexpr uint64_t kLeading = uint64_t{1} << 16;
  return kMode | static_cast<uint64_t>((group_bytes & 0x3ffff) >> 4) << 32 | kLeading |
         (address & 0x3ffff) >> 4;
}
inline constexpr uint64_t kDescriptorStep = 4 * 8 / 16;

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE

#ifdef __CUDACC__
#include "kernels/cuda/device_hopper.h"
#else
#include "kernels/cuda/emulated_hopper.h"
#endif
