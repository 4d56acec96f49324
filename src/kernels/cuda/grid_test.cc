// The emulated device: collectives, barriers, shared memory, asynchronous copies and tensor-core products
// against NVIDIA's definitions, and that a kernel which breaks a rule ends the process.
#include "kernels/cuda/grid.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/test_support.h"

namespace fathom::kernels::cuda_emulated {
namespace {

struct WordsOut {
  uint32_t* out;
};

void index_kernel(WordsOut p) {
  begin_kernel();
  const auto block = static_cast<uint32_t>(block_y() * 3 + block_x());
  p.out[block * 64 + static_cast<uint32_t>(thread_index())] =
      block * 1000 + static_cast<uint32_t>(warp_index() * 100 + lane_index());
}

TEST(CudaGrid, EveryThreadOfEveryBlockRunsOnce) {
  std::vector<uint32_t> out(6 * 64);
  ASSERT_EQ(launch(index_kernel, {.blocks_x = 3, .blocks_y = 2, .threads = 64}, WordsOut{out.data()}), 0);
  for (uint32_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i / 64 * 1000 + i % 64 / 32 * 100 + i % 32);
  launch(index_kernel, {.blocks_x = 0, .threads = 64}, WordsOut{nullptr});
}

void collective_kernel(WordsOut p) {
  begin_kernel();
  const int lane = lane_index();
  uint32_t* out = p.out + 4 * thread_index();
  out[0] = static_cast<uint32_t>(shuffle(lane * 3, (lane + 5) % 32));
  out[1] = static_cast<uint32_t>(shuffle_xor(lane, 6));
  out[2] = ballot(lane % 3 == 0);
  out[3] = float_to_bits(warp_sum(static_cast<float>(1 + lane)) +
                         warp_max(static_cast<float>(lane == 7 ? 100 : -lane)));
}

TEST(CudaGrid, Collectives) {
  for (ThreadOrder order : {ThreadOrder::kForward, ThreadOrder::kBackward}) {
    set_thread_order(order);
    std::vector<uint32_t> out(4 * 64);
    launch(collective_kernel, {.threads = 64}, WordsOut{out.data()});
    for (uint32_t t = 0; t < 64; ++t) {
      const uint32_t lane = t % 32;
      EXPECT_EQ(out[4 * t], (lane + 5) % 32 * 3);
      EXPECT_EQ(out[4 * t + 1], lane ^ 6);
      EXPECT_EQ(out[4 * t + 2], 0x49249249u);
      EXPECT_EQ(bits_to_float(out[4 * t + 3]), 528.0f + 100.0f);
    }
  }
  set_thread_order(ThreadOrder::kForward);
}

void integer_kernel(WordsOut p) {
  begin_kernel();
  const int lane = lane_index();
  uint32_t* out = p.out + 3 * thread_index();
  out[0] = warp_max(lane == 9 ? 0x80000000u : static_cast<uint32_t>(lane));
  out[1] = static_cast<uint32_t>(warp_sum(lane == 3 ? -1000 : lane));
  out[2] = static_cast<uint32_t>(count_bits(0xf0f0f0f0u >> lane));
}

TEST(CudaGrid, IntegerCollectives) {
  std::vector<uint32_t> out(3 * 64);
  launch(integer_kernel, {.threads = 64}, WordsOut{out.data()});
  for (uint32_t t = 0; t < 64; ++t) {
    EXPECT_EQ(out[3 * t], 0x80000000u);
    EXPECT_EQ(static_cast<int32_t>(out[3 * t + 1]), 31 * 32 / 2 - 3 - 1000);
    EXPECT_EQ(out[3 * t + 2], static_cast<uint32_t>(std::popcount(0xf0f0f0f0u >> t % 32)));
  }
}

void block_kernel(WordsOut p) {
  begin_kernel();
  SharedMemory shared;
  const auto room = shared.take<float>(kReductionFloats);
  const auto values = shared.take<int32_t>(96);
  const int t = thread_index();
  values[t] = t;
  sync_threads();
  const int32_t opposite = values[95 - t];
  const float sum = block_sum(static_cast<float>(t), room);
  const float largest = block_max(static_cast<float>(-t), room);
  p.out[t] = static_cast<uint32_t>(opposite) + static_cast<uint32_t>(sum + largest);
}

TEST(CudaGrid, BlocksShareMemoryAndReduce) {
  for (ThreadOrder order : {ThreadOrder::kForward, ThreadOrder::kBackward}) {
    set_thread_order(order);
    std::vector<uint32_t> out(96);
    launch(block_kernel, {.threads = 96, .shared_bytes = 128 + 384}, WordsOut{out.data()});
    for (uint32_t t = 0; t < 96; ++t) EXPECT_EQ(out[t], 95 - t + 95 * 96 / 2);
  }
  set_thread_order(ThreadOrder::kForward);
}

// Without the barrier a thread reads what another has not written: the emulation shows it as poison.
void racing_kernel(WordsOut p) {
  begin_kernel();
  SharedMemory shared;
  const auto values = shared.take<uint32_t>(64);
  values[thread_index()] = 1;
  p.out[thread_index()] = values[63 - thread_index()];
}

TEST(CudaGrid, AMissingBarrierChangesResults) {
  std::vector<uint32_t> forward(64), backward(64);
  launch(racing_kernel, {.threads = 64, .shared_bytes = 256}, WordsOut{forward.data()});
  set_thread_order(ThreadOrder::kBackward);
  launch(racing_kernel, {.threads = 64, .shared_bytes = 256}, WordsOut{backward.data()});
  set_thread_order(ThreadOrder::kForward);
  EXPECT_NE(forward, backward);
}

struct CopyParams {
  const uint32_t* from;
  uint32_t* out;
};

void copy_kernel(CopyParams p) {
  begin_kernel();
  SharedMemory shared;
  const auto room = shared.take<uint32_t>(10);
  if (thread_index() == 0) {
    copy_async_16(room, 0, p.from, 16);
    commit_copies();
    copy_async_16(room, 4, p.from + 4, 8);
    copy_async_4(room, 8, p.from + 2, 4);
    copy_async_4(room, 9, p.from + 3, 0);
    commit_copies();
    for (int i = 0; i < 10; ++i) p.out[i] = room[i];
    wait_copies<1>();
    for (int i = 0; i < 10; ++i) p.out[10 + i] = room[i];
    wait_copies<0>();
    for (int i = 0; i < 10; ++i) p.out[20 + i] = room[i];
  }
}

TEST(CudaGrid, CopiesArriveWhenTheyAreWaitedFor) {
  alignas(16) const uint32_t from[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<uint32_t> out(30);
  launch(copy_kernel, {.threads = 32, .shared_bytes = 40}, CopyParams{from, out.data()});
  const uint32_t x = ~0u;
  EXPECT_EQ(out, (std::vector<uint32_t>{x, x, x, x, x, x, x, x, x, x, 1, 2, 3, 4, x,
                                        x, x, x, x, x, 1, 2, 3, 4, 5, 6, 0, 0, 3, 0}));
}

TEST(CudaGrid, BytesAndPairsOfNumbers) {
  EXPECT_EQ((permute_bytes<0x4341>(0x44332211u, 0x88776655u)), 0x55445522u);
  // 129 - 256 and 255 - 128 in bf16; 1024 + 1 - 1152 and 1279 - 1152 in fp16.
  EXPECT_EQ(subtract_bf16_pairs(0x437f4301u, 0x43004380u), 0x42fec2feu);
  EXPECT_EQ(subtract_fp16_pairs(0x64ff6401u, 0x64806480u), 0x57f0d7f0u);
}

// Rows of eight elements in an order of their own: row i of matrix m at (5 (8 m + i)) % 32.
void matrix_kernel(WordsOut p) {
  begin_kernel();
  SharedMemory shared;
  const auto room = shared.take<uint16_t>(32 * 8);
  const int lane = lane_index();
  const int place = 5 * lane % 32 * 8;
  for (int i = 0; i < 8; ++i) room[place + i] = static_cast<uint16_t>(lane * 8 + i);
  sync_threads();
  uint32_t words[4];
  load_matrices(words, room, place);
  for (int m = 0; m < 4; ++m) p.out[lane * 8 + m] = words[m];
  load_matrices_transposed(words, room, place);
  for (int m = 0; m < 4; ++m) p.out[lane * 8 + 4 + m] = words[m];
}

TEST(CudaGrid, MatricesAreLoadedAsFragments) {
  std::vector<uint32_t> out(32 * 8);
  launch(matrix_kernel, {.threads = 32, .shared_bytes = 512}, WordsOut{out.data()});
  const auto element = [](uint32_t m, uint32_t row, uint32_t column) { return (8 * m + row) * 8 + column; };
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint32_t g = lane / 4, t = lane % 4 * 2;
    for (uint32_t m = 0; m < 4; ++m) {
      EXPECT_EQ(out[lane * 8 + m], element(m, g, t) | element(m, g, t + 1) << 16);
      EXPECT_EQ(out[lane * 8 + 4 + m], element(m, t, g) | element(m, t + 1, g) << 16);
    }
  }
}

TEST(CudaGrid, RecordedLaunchesRunWhenTheyAreCalled) {
  std::vector<uint32_t> out(64, 7);
  RecordedLaunches launches;
  set_launch_recorder(&launches);
  launch(index_kernel, {.threads = 64}, WordsOut{out.data()});
  set_launch_recorder(nullptr);
  ASSERT_EQ(launches.size(), 1u);
  EXPECT_EQ(out[1], 7u);
  launches[0]();
  EXPECT_EQ(out[1], 1u);
}

void divergent_barrier_kernel(WordsOut) {
  begin_kernel();
  if (thread_index() != 40) sync_threads();
}
void late_begin_kernel(WordsOut) {
  sync_threads();
  begin_kernel();
}
void divergent_shuffle_kernel(WordsOut) {
  begin_kernel();
  if (lane_index() != 3) shuffle(1, 0);
}
void mixed_collective_kernel(WordsOut) {
  begin_kernel();
  if (lane_index() < 16) {
    ballot(1);
  } else {
    shuffle(1, 0);
  }
}
void index_beyond_kernel(WordsOut) {
  begin_kernel();
  SharedMemory shared;
  const auto room = shared.take<float>(4);
  room[4] = 1;
}
void memory_beyond_kernel(WordsOut) {
  begin_kernel();
  SharedMemory shared;
  shared.take<float>(4);
  shared.take<float>(5);
}
void unaligned_small_copy_kernel(WordsOut p) {
  begin_kernel();
  SharedMemory shared;
  const auto room = shared.take<unsigned char>(8);
  copy_async_4(room, 2, p.out, 4);
}
void unaligned_copy_kernel(WordsOut p) {
  begin_kernel();
  SharedMemory shared;
  const auto room = shared.take<uint32_t>(8);
  copy_async_16(room, 1, p.out, 16);
}

TEST(CudaGridDeathTest, BrokenRulesEndTheProcess) {
  const WordsOut none{nullptr};
  const LaunchShape two_warps{.threads = 64, .shared_bytes = 32};
  EXPECT_DEATH(launch(divergent_barrier_kernel, two_warps, none),
               "a block's threads part: thread 0 is at a barrier, thread 40 at its end");
  EXPECT_DEATH(launch(late_begin_kernel, two_warps, none), "thread 0 is at a barrier before begin_kernel");
  EXPECT_DEATH(launch(divergent_shuffle_kernel, two_warps, none),
               "a warp's lanes part: thread 0 is at shuffle, thread 3 at its end");
  EXPECT_DEATH(launch(mixed_collective_kernel, two_warps, none),
               "thread 0 is at ballot, thread 16 at shuffle");
  EXPECT_DEATH(launch(index_beyond_kernel, two_warps, none), "element 4 of 4 in shared memory");
  EXPECT_DEATH(launch(memory_beyond_kernel, two_warps, none), "bytes \\[16, 36\\) of 32 in shared memory");
  EXPECT_DEATH(launch(unaligned_copy_kernel, two_warps, none), "a copy of 16 bytes");
  EXPECT_DEATH(launch(unaligned_small_copy_kernel, two_warps, none), "a copy of 4 bytes");
  EXPECT_DEATH(launch(index_kernel, {.threads = 48}, none), "48 threads");
  EXPECT_DEATH(launch(index_kernel, {.threads = 32, .shared_bytes = kMaxSharedBytes + 1}, none),
               "101377 bytes");
}

enum class Product : uint8_t { kBFloat16, kFloat16, kInt8 };

struct ProductParams {
  const uint32_t* a;  // [32, 4]
  const uint32_t* b;  // [32, 2]
  uint32_t* c;        // [32, 4]
  Product product;
};

void product_kernel(ProductParams p) {
  begin_kernel();
  const int lane = thread_index();
  uint32_t a[4], b[2];
  std::memcpy(a, p.a + 4 * lane, sizeof(a));
  std::memcpy(b, p.b + 2 * lane, sizeof(b));
  if (p.product == Product::kInt8) {
    int32_t c[4];
    std::memcpy(c, p.c + 4 * lane, sizeof(c));
    mma_int8(c, a, b);
    std::memcpy(p.c + 4 * lane, c, sizeof(c));
  } else {
    float c[4];
    std::memcpy(c, p.c + 4 * lane, sizeof(c));
    if (p.product == Product::kBFloat16) mma_bf16(c, a, b);
    if (p.product == Product::kFloat16) mma_fp16(c, a, b);
    std::memcpy(p.c + 4 * lane, c, sizeof(c));
  }
}

// The places of fragments' elements as the PTX ISA writes them ("Matrix Fragments for mma.m16n8k16 with
// floating point type", "... for mma.m16n8k32"): element i of a thread's fragment.
struct Place {
  int row, column;
};
Place place_of_a(Product product, int lane, int i) {
  const int group = lane >> 2, in_group = lane % 4;
  if (product == Product::kInt8) {
    const bool upper = (0 <= i && i < 4) || (8 <= i && i < 12);
    return {upper ? group : group + 8, in_group * 4 + (i & 3) + (i < 8 ? 0 : 16)};
  }
  const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
  return {upper ? group : group + 8, in_group * 2 + (i & 1) + (i < 4 ? 0 : 8)};
}
Place place_of_b(Product product, int lane, int i) {
  const int group = lane >> 2, in_group = lane % 4;
  if (product == Product::kInt8) return {in_group * 4 + (i & 3) + (i < 4 ? 0 : 16), group};
  return {in_group * 2 + (i & 1) + (i < 2 ? 0 : 8), group};
}
Place place_of_c(int lane, int i) { return {(lane >> 2) + (i < 2 ? 0 : 8), lane % 4 * 2 + (i & 1)}; }

// Random values that a product's elements can hold, their bits, and the bits of a sum.
struct Elements {
  explicit Elements(Product which) : product(which) {}
  int bytes() const { return product == Product::kInt8 ? 1 : 2; }
  int inner() const { return product == Product::kInt8 ? 32 : 16; }
  uint32_t bits(double value) const {
    const auto f = static_cast<float>(value);
    if (product == Product::kInt8) return static_cast<uint8_t>(static_cast<int8_t>(value));
    return product == Product::kBFloat16 ? from_float<BFloat16>(f).bits : from_float<Float16>(f).bits;
  }
  double next(Values& values) const {
    if (product == Product::kInt8) return static_cast<double>(values.below(256) - 128);
    return std::nearbyint(values.next() * 64) / 16;  // exact in every 16-bit type
  }
  uint32_t sum_bits(double value) const {
    return product == Product::kInt8 ? std::bit_cast<uint32_t>(static_cast<int32_t>(value))
                                     : std::bit_cast<uint32_t>(static_cast<float>(value));
  }
  Product product;
};

TEST(CudaGrid, ProductsFollowTheFragmentLayouts) {
  for (Product product : {Product::kBFloat16, Product::kFloat16, Product::kInt8}) {
    const Elements elements(product);
    const int inner = elements.inner(), per_word = 4 / elements.bytes();
    Values values(static_cast<uint64_t>(product) + 1);
    std::vector<double> a(static_cast<size_t>(16 * inner)), b(static_cast<size_t>(inner * 8)), c(16 * 8);
    for (double& x : a) x = elements.next(values);
    for (double& x : b) x = elements.next(values);
    for (double& x : c) x = elements.next(values);
    std::vector<uint32_t> a_words(32 * 4), b_words(32 * 2), c_words(32 * 4);
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4 * per_word; ++i) {
        const Place place = place_of_a(product, lane, i);
        a_words[static_cast<size_t>(4 * lane + i / per_word)] |=
            elements.bits(a[static_cast<size_t>(place.row * inner + place.column)])
            << (8 * elements.bytes() * (i % per_word));
      }
      for (int i = 0; i < 2 * per_word; ++i) {
        const Place place = place_of_b(product, lane, i);
        b_words[static_cast<size_t>(2 * lane + i / per_word)] |=
            elements.bits(b[static_cast<size_t>(place.row * 8 + place.column)])
            << (8 * elements.bytes() * (i % per_word));
      }
      for (int i = 0; i < 4; ++i) {
        const Place place = place_of_c(lane, i);
        c_words[static_cast<size_t>(4 * lane + i)] =
            elements.sum_bits(c[static_cast<size_t>(place.row * 8 + place.column)]);
      }
    }
    launch(product_kernel, {.threads = 32},
           ProductParams{a_words.data(), b_words.data(), c_words.data(), product});
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        const Place place = place_of_c(lane, i);
        double want = c[static_cast<size_t>(place.row * 8 + place.column)];
        for (int k = 0; k < inner; ++k)
          want +=
              a[static_cast<size_t>(place.row * inner + k)] * b[static_cast<size_t>(k * 8 + place.column)];
        ASSERT_EQ(c_words[static_cast<size_t>(4 * lane + i)], elements.sum_bits(want))
            << "product " << static_cast<int>(product) << " at " << place.row << ", " << place.column;
      }
    }
  }
}

TEST(CudaGrid, PairsAreRoundedAndPowersOfTwoAreClose) {
  Values values(9);
  for (int i = 0; i < 1000; ++i) {
    // Every fourth first value is halfway between two of bf16's.
    const float any = values.next() * 100, second = values.next() * 1e-3f;
    const float first =
        i % 4 == 0 ? std::bit_cast<float>((std::bit_cast<uint32_t>(any) & ~0xffffu) | 0x8000u) : any;
    ASSERT_EQ(bf16_pair(first, second),
              from_float<BFloat16>(first).bits | uint32_t{from_float<BFloat16>(second).bits} << 16);
    ASSERT_EQ(fp16_pair(first, second),
              from_float<Float16>(first).bits | uint32_t{from_float<Float16>(second).bits} << 16);
    ASSERT_NEAR(power_of_two(first), std::exp2(static_cast<double>(first)),
                0x1p-22 * std::exp2(static_cast<double>(first)));
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(power_of_two(0), 1);
  EXPECT_EQ(power_of_two(-kInfinity), 0);
  EXPECT_EQ(power_of_two(-127), 0);
  EXPECT_TRUE(std::isnan(power_of_two(kNaN)));
  EXPECT_EQ(larger(kNaN, -kInfinity), -kInfinity);
  EXPECT_EQ(larger(1, 2), 2);
}

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
