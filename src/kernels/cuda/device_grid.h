// grid.h under nvcc: thin names over CUDA and PTX. Included by grid.h only.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace fathom::kernels::cuda_device {

// Lets the next kernel's blocks come to the multiprocessors as soon as all of this one's have, and waits
// until the kernels before are complete and their writes visible: what is between two launches of a step is
// hidden.
FATHOM_DEVICE void begin_kernel() {
#if defined(FATHOM_CUDA_EARLY_LAUNCHES) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

FATHOM_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
FATHOM_DEVICE int block_threads() { return static_cast<int>(blockDim.x); }
FATHOM_DEVICE int64_t block_x() { return blockIdx.x; }
FATHOM_DEVICE int64_t block_y() { return blockIdx.y; }

FATHOM_DEVICE void sync_threads() { __syncthreads(); }
FATHOM_DEVICE void sync_warp() { __syncwarp(); }

FATHOM_DEVICE float shuffle_xor(float value, int mask) { return __shfl_xor_sync(~0u, value, mask); }
FATHOM_DEVICE int32_t shuffle_xor(int32_t value, int mask) { return __shfl_xor_sync(~0u, value, mask); }
FATHOM_DEVICE float shuffle(float value, int from) { return __shfl_sync(~0u, value, from); }
FATHOM_DEVICE int32_t shuffle(int32_t value, int from) { return __shfl_sync(~0u, value, from); }
FATHOM_DEVICE uint32_t ballot(int predicate) { return __ballot_sync(~0u, predicate); }
FATHOM_DEVICE uint32_t warp_max(uint32_t value) { return __reduce_max_sync(~0u, value); }
FATHOM_DEVICE int32_t warp_sum(int32_t value) { return __reduce_add_sync(~0u, value); }
FATHOM_DEVICE int32_t count_bits(uint32_t bits) { return __popc(bits); }

template <typename T>
class SharedArray {
 public:
  FATHOM_DEVICE SharedArray(T* data, int) : data_(data) {}
  FATHOM_DEVICE T& operator[](int index) const { return data_[index]; }

 private:
  T* data_;
};

class SharedMemory {
 public:
  template <typename T>
  FATHOM_DEVICE SharedArray<T> take(int count) {
    extern __shared__ __align__(kSharedAlignment) unsigned char dynamic_shared[];
    T* data = reinterpret_cast<T*>(dynamic_shared + used_);
    used_ += (count * static_cast<int>(sizeof(T)) + 15) / 16 * 16;
    return {data, count};
  }

 private:
  int used_ = 0;
};

FATHOM_DEVICE void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
FATHOM_DEVICE void mma_fp16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
FATHOM_DEVICE void mma_int8(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <typename T>
FATHOM_DEVICE void copy_async_16(SharedArray<T> to, int index, const void* from, int valid_bytes) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(&to[index]));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid_bytes)
               : "memory");
}
template <typename T>
FATHOM_DEVICE void copy_async_4(SharedArray<T> to, int index, const void* from, int valid_bytes) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(&to[index]));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(valid_bytes)
               : "memory");
}
FATHOM_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
FATHOM_DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// ldmatrix: four 8 x 8 matrices of 16-bit elements; lane i gives row i % 8 of matrix i / 8, 16 aligned bytes
// at `index`. words[m] of a lane holds row lane / 4, columns 2 (lane % 4) (+1) of matrix m; transposed: rows
// 2 (lane % 4) (+1), column lane / 4.
template <typename T>
FATHOM_DEVICE void load_matrices(uint32_t (&words)[4], SharedArray<T> from, int index) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(&from[index]));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}
template <typename T>
FATHOM_DEVICE void load_matrices_transposed(uint32_t (&words)[4], SharedArray<T> from, int index) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(&from[index]));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

FATHOM_DEVICE float bits_to_float(uint32_t bits) { return __uint_as_float(bits); }
FATHOM_DEVICE uint32_t float_to_bits(float value) { return __float_as_uint(value); }
// Byte i of the result is byte (kSelector >> 4 i) % 8 of b's four after a's four.
template <uint32_t kSelector>
FATHOM_DEVICE uint32_t permute_bytes(uint32_t a, uint32_t b) {
  return __byte_perm(a, b, kSelector);
}
// a - b of the two 16-bit numbers in each.
FATHOM_DEVICE uint32_t subtract_bf16_pairs(uint32_t a, uint32_t b) {
  __nv_bfloat162 x, y;
  memcpy(&x, &a, sizeof(a));
  memcpy(&y, &b, sizeof(b));
  const __nv_bfloat162 difference = __hsub2(x, y);
  uint32_t bits;
  memcpy(&bits, &difference, sizeof(bits));
  return bits;
}
FATHOM_DEVICE uint32_t subtract_fp16_pairs(uint32_t a, uint32_t b) {
  __half2 x, y;
  memcpy(&x, &a, sizeof(a));
  memcpy(&y, &b, sizeof(b));
  const __half2 difference = __hsub2(x, y);
  uint32_t bits;
  memcpy(&bits, &difference, sizeof(bits));
  return bits;
}
FATHOM_DEVICE float half_to_float(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
FATHOM_DEVICE uint16_t float_to_half(float value) { return __half_as_ushort(__float2half_rn(value)); }
FATHOM_DEVICE float exponential(float value) { return expf(value); }
// 2^value within 2 ulp; below 2^-126 it is 0.
FATHOM_DEVICE float power_of_two(float value) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}
// The larger one; of a number and NaN the number.
FATHOM_DEVICE float larger(float a, float b) { return fmaxf(a, b); }
// Two values rounded to bf16 or fp16, the first one in the low half.
FATHOM_DEVICE uint32_t bf16_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
FATHOM_DEVICE uint32_t fp16_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
FATHOM_DEVICE float square_root(float value) { return sqrtf(value); }
FATHOM_DEVICE float nearest_integer(float value) { return rintf(value); }
FATHOM_DEVICE float fused_multiply_add(float a, float b, float c) { return fmaf(a, b, c); }

// Whether kernels may be launched before those that they wait for are complete: only machine code for 9.0 has
// the instructions of begin_kernel. A process has one device.
inline bool launches_early() {
#ifdef FATHOM_CUDA_EARLY_LAUNCHES
  static const bool is_hopper = [] {
    int device = 0, major = 0;
    return cudaGetDevice(&device) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
           major == 9;
  }();
  return is_hopper;
#else
  return false;
#endif
}

template <typename Params>
LaunchError launch(void (*kernel)(Params), const LaunchShape& shape, const Params& params) {
  if (shape.blocks_x == 0 || shape.blocks_y == 0) return 0;
  if (shape.shared_bytes > kSharedLimit) {
    // Of all the kernel's launches the most: graphs hold launches of other sizes.
    const auto bytes = static_cast<int>(shape.shared_limit);
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) return static_cast<LaunchError>(error);
  }
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks_x), static_cast<unsigned>(shape.blocks_y));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(shape.stream);
  config.attrs = &early;
  config.numAttrs = launches_early() ? 1 : 0;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, params);
  if (error != cudaSuccess) cudaGetLastError();  // else a later call would report it
  return static_cast<LaunchError>(error);
}

}  // namespace fathom::kernels::cuda_device
