// grid.h as plain C++: a block's threads are fibers of the calling thread, blocks run one after another, in
// an order that is always the same. A fiber runs until a barrier or a warp collective. Included by grid.h
// only.
//
// Shared memory is filled with 0xff before each block. Forward, an asynchronous copy takes place when it is
// waited for, so that a read before the wait finds the old bytes; backward, at once, so that it destroys what
// others still read. Running the threads backward instead of forward (set_thread_order) must not change a
// result: where it does, a barrier or a wait is missing.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "base/check.h"
#include "base/float16.h"

namespace fathom::kernels::cuda_emulated {

enum class ThreadOrder : uint8_t { kForward, kBackward };
// Of launches from the calling thread from now on.
void set_thread_order(ThreadOrder order);
ThreadOrder thread_order();

// c + products as tensor cores add them: terms cut to 24 bits behind the point of the largest one, the sum
// cut to float32 (what MMA-Sim, github.com/microsoft/MMA-Sim, found of A100; H100 keeps a bit more). Not
// finite: added in order.
float tensor_core_sum(float c, const float* products, int count);
int32_t tensor_core_sum(int32_t c, const int32_t* products, int count);

void begin_kernel();
int thread_index();
int block_threads();
int64_t block_x();
int64_t block_y();

void sync_threads();

// What a lane brings to a collective and what it gets.
struct LaneWords {
  uint32_t in[10];
  uint32_t out[4];
};
// Fills out of a warp's 32 lanes from in.
using Combine = void (*)(LaneWords* lanes);
// Waits for the other lanes and returns this lane's out, valid until its next collective.
const uint32_t* warp_collective(const char* name, Combine combine, const uint32_t* in, int num_words);

void combine_nothing(LaneWords* lanes);
void combine_shuffle(LaneWords* lanes);
void combine_ballot(LaneWords* lanes);
void combine_max(LaneWords* lanes);
void combine_sum(LaneWords* lanes);
void combine_load_matrices(LaneWords* lanes);
void combine_load_transposed(LaneWords* lanes);
void combine_mma_bf16(LaneWords* lanes);
void combine_mma_fp16(LaneWords* lanes);
void combine_mma_int8(LaneWords* lanes);

// Bytes [begin, begin + bytes) of the block's dynamic shared memory.
unsigned char* dynamic_shared(size_t begin, size_t bytes);

// A copy of 4 or 16 bytes, of which those from valid_bytes on become 0.
void queue_copy(void* to, const void* from, int bytes, int valid_bytes);
void commit_copies();
void wait_for_copies(int pending_groups);

inline void sync_warp() { warp_collective("sync_warp", combine_nothing, nullptr, 0); }

inline uint32_t shuffle_words(uint32_t value, uint32_t from) {
  const uint32_t in[] = {value, from};
  return *warp_collective("shuffle", combine_shuffle, in, 2);
}
template <typename T>
T shuffle(T value, int from) {
  return std::bit_cast<T>(shuffle_words(std::bit_cast<uint32_t>(value), static_cast<uint32_t>(from)));
}
template <typename T>
T shuffle_xor(T value, int mask) {
  return shuffle(value, (thread_index() % kWarpLanes) ^ mask);
}
inline uint32_t ballot(int predicate) {
  const uint32_t in = predicate != 0;
  return *warp_collective("ballot", combine_ballot, &in, 1);
}

inline uint32_t warp_max(uint32_t value) { return *warp_collective("warp_max", combine_max, &value, 1); }
inline int32_t warp_sum(int32_t value) {
  const auto in = static_cast<uint32_t>(value);
  return static_cast<int32_t>(*warp_collective("warp_sum", combine_sum, &in, 1));
}
inline int32_t count_bits(uint32_t bits) { return std::popcount(bits); }

template <typename T>
void multiply_fragments(const char* name, Combine combine, T (&c)[4], const uint32_t (&a)[4],
                        const uint32_t (&b)[2]) {
  uint32_t in[10];
  std::memcpy(in, a, sizeof(a));
  std::memcpy(in + 4, b, sizeof(b));
  std::memcpy(in + 6, c, sizeof(c));
  std::memcpy(c, warp_collective(name, combine, in, 10), sizeof(c));
}
inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiply_fragments("mma_bf16", combine_mma_bf16, c, a, b);
}
inline void mma_fp16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiply_fragments("mma_fp16", combine_mma_fp16, c, a, b);
}
inline void mma_int8(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiply_fragments("mma_int8", combine_mma_int8, c, a, b);
}

template <typename T>
class SharedArray {
 public:
  SharedArray(T* data, int size) : data_(data), size_(size) {}
  T& operator[](int index) const {
    FATHOM_CHECK(index >= 0 && index < size_, "element {} of {} in shared memory", index, size_);
    return data_[index];
  }

 private:
  T* data_;
  int size_;
};

class SharedMemory {
 public:
  template <typename T>
  SharedArray<T> take(int count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    auto* data = reinterpret_cast<T*>(dynamic_shared(used_, bytes));
    used_ += (bytes + 15) / 16 * 16;
    return {data, count};
  }

 private:
  size_t used_ = 0;
};

template <int kBytes, typename T>
void copy_async(SharedArray<T> to, int index, const void* from, int valid_bytes) {
  T* first = &to[index];
  static_cast<void>(to[index + kBytes / static_cast<int>(sizeof(T)) - 1]);
  queue_copy(first, from, kBytes, valid_bytes);
}
template <typename T>
void copy_async_16(SharedArray<T> to, int index, const void* from, int valid_bytes) {
  copy_async<16>(to, index, from, valid_bytes);
}
template <typename T>
void copy_async_4(SharedArray<T> to, int index, const void* from, int valid_bytes) {
  copy_async<4>(to, index, from, valid_bytes);
}
template <typename T>
void load_words(const char* name, Combine combine, uint32_t (&words)[4], SharedArray<T> from, int index) {
  T* first = &from[index];
  static_cast<void>(from[index + static_cast<int>(16 / sizeof(T)) - 1]);
  FATHOM_CHECK(reinterpret_cast<uintptr_t>(first) % 16 == 0, "{} at {}", name, static_cast<void*>(first));
  const auto address = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(first));
  const uint32_t in[] = {static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32)};
  std::memcpy(words, warp_collective(name, combine, in, 2), sizeof(words));
}
template <typename T>
void load_matrices(uint32_t (&words)[4], SharedArray<T> from, int index) {
  load_words("load_matrices", combine_load_matrices, words, from, index);
}
template <typename T>
void load_matrices_transposed(uint32_t (&words)[4], SharedArray<T> from, int index) {
  load_words("load_matrices_transposed", combine_load_transposed, words, from, index);
}
template <int kPending>
void wait_copies() {
  wait_for_copies(kPending);
}

inline float bits_to_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t float_to_bits(float value) { return std::bit_cast<uint32_t>(value); }
template <uint32_t kSelector>
uint32_t permute_bytes(uint32_t a, uint32_t b) {
  const uint64_t both = uint64_t{b} << 32 | a;
  uint32_t bytes = 0;
  for (int i = 0; i < 4; ++i)
    bytes |= static_cast<uint32_t>(both >> (8 * (kSelector >> (4 * i) & 7u)) & 0xffu) << (8 * i);
  return bytes;
}
template <typename Number>
uint32_t subtract_pairs(uint32_t a, uint32_t b) {
  uint32_t bits = 0;
  for (int shift : {0, 16}) {
    const float difference = to_float(Number{static_cast<uint16_t>(a >> shift)}) -
                             to_float(Number{static_cast<uint16_t>(b >> shift)});
    bits |= static_cast<uint32_t>(from_float<Number>(difference).bits) << shift;
  }
  return bits;
}
inline uint32_t subtract_bf16_pairs(uint32_t a, uint32_t b) { return subtract_pairs<BFloat16>(a, b); }
inline uint32_t subtract_fp16_pairs(uint32_t a, uint32_t b) { return subtract_pairs<Float16>(a, b); }
inline float half_to_float(uint16_t bits) { return to_float(Float16{bits}); }
inline uint16_t float_to_half(float value) { return from_float<Float16>(value).bits; }
inline float exponential(float value) { return std::exp(value); }
inline float power_of_two(float value) { return value < -126 ? 0.0f : std::exp2(value); }
inline float larger(float a, float b) { return std::fmax(a, b); }
inline uint32_t bf16_pair(float low, float high) {
  return from_float<BFloat16>(low).bits | static_cast<uint32_t>(from_float<BFloat16>(high).bits) << 16;
}
inline uint32_t fp16_pair(float low, float high) {
  return from_float<Float16>(low).bits | static_cast<uint32_t>(from_float<Float16>(high).bits) << 16;
}
inline float square_root(float value) { return std::sqrt(value); }
inline float nearest_integer(float value) { return std::nearbyint(value); }
inline float fused_multiply_add(float a, float b, float c) { return std::fma(a, b, c); }

// What a device around the grid asks of every launch, from whatever thread.
struct DeviceRules {
  Stream stream = nullptr;  // on which it has to be
  void (*enter)() = [] {};  // called before the blocks run
  void (*leave)() = [] {};  // and after
};
void set_device_rules(const DeviceRules& rules);

// Runs body(arguments) as every thread of every block.
void run_grid(const LaunchShape& shape, void (*body)(const void*), const void* arguments);

using RecordedLaunches = std::vector<std::function<void()>>;
// While there is one, launches from the calling thread are added to it instead of run: a graph's capture.
// Null: no more.
void set_launch_recorder(RecordedLaunches* launches);
RecordedLaunches* launch_recorder();

template <typename Params>
struct LaunchedKernel {
  void (*kernel)(Params);
  Params params;
};

template <typename Params>
LaunchError launch(void (*kernel)(Params), const LaunchShape& shape, const Params& params) {
  const auto run = [shape, launched = LaunchedKernel<Params>{kernel, params}] {
    run_grid(
        shape,
        [](const void* arguments) {
          const auto& call = *static_cast<const LaunchedKernel<Params>*>(arguments);
          call.kernel(call.params);
        },
        &launched);
  };
  if (RecordedLaunches* launches = launch_recorder()) {
    launches->push_back(run);
  } else {
    run();
  }
  return 0;
}

}  // namespace fathom::kernels::cuda_emulated
