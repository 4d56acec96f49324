// The emulated products of warpgroups against the tables of NVIDIA's PTX ISA, and that a kernel which breaks
// one of their rules ends the process or shows in the results.
#include "kernels/cuda/hopper_grid.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/test_support.h"

namespace fathom::kernels::cuda_emulated {
namespace {

enum class StepType : uint8_t { kBFloat16, kFloat16, kInt8 };

// What a test's kernel leaves out or does wrongly.
enum class Mistake : uint8_t {
  kNone,
  kNoAsyncFence,
  kAsyncFenceBeforeCopies,
  kNoBarrier,
  kNoProductFence,
  kNoWait,
  kReadsBeforeWait,
  kChangesLeftBeforeWait,
  kCopiesBeforeWait,
  kOneWarpIssuesNone,
  kWarpsDiffer,
  kNoSwizzle,
  kUnaligned,
};

// One step of a warpgroup's product with kColumns columns: a by thread, b as [columns, 32 bytes], of which
// the kernel makes lines of 128 bytes with the step at `step`; d by thread.
struct StepParams {
  const uint32_t* a;  // [128, 4]
  const std::byte* b;
  uint32_t* d;  // [128, columns / 2]
  StepType product;
  Mistake mistake;
  int step;
  int group_bytes;  // from eight columns to the next
  bool accumulate;
};

constexpr int kTestRoom = 32 << 10;

// Where the PTX ISA has byte `byte` of row `row` ("K-major, 128B swizzling"): eight rows of eight 16-byte
// pieces make a pattern; row r of it has its pieces in the order given by this table's row r.
constexpr int kPieceOfRow[8][8] = {
    {0, 1, 2, 3, 4, 5, 6, 7}, {1, 0, 3, 2, 5, 4, 7, 6}, {2, 3, 0, 1, 6, 7, 4, 5}, {3, 2, 1, 0, 7, 6, 5, 4},
    {4, 5, 6, 7, 0, 1, 2, 3}, {5, 4, 7, 6, 1, 0, 3, 2}, {6, 7, 4, 5, 2, 3, 0, 1}, {7, 6, 5, 4, 3, 2, 1, 0}};
int place_in_b(int row, int piece, int group_bytes) {
  return row / 8 * group_bytes + row % 8 * 128 + kPieceOfRow[row % 8][piece] * 16;
}

uint64_t descriptor_of(const StepParams& p, SharedArray<uint32_t> room) {
  const uint32_t address = shared_address(room, 8 * p.step + (p.mistake == Mistake::kUnaligned ? 32 : 0));
  const uint64_t descriptor = rows_descriptor(address, static_cast<uint32_t>(p.group_bytes));
  return p.mistake == Mistake::kNoSwizzle ? descriptor << 2 >> 2 : descriptor;
}

template <typename Sum, int kColumns>
void multiply(const StepParams& p, Sum (&d)[kColumns / 2], const uint32_t (&a)[4], uint64_t b) {
  if constexpr (std::is_same_v<Sum, int32_t>) {
    products_int8(d, a, b, p.accumulate);
  } else if (p.product == StepType::kBFloat16) {
    products_bf16(d, a, b, p.accumulate);
  } else {
    products_fp16(d, a, b, p.accumulate);
  }
}

template <typename Sum, int kColumns>
void step_kernel(StepParams p) {
  begin_kernel();
  const int thread = thread_index();
  SharedMemory shared;
  const auto room = shared.take<uint32_t>(kTestRoom / 4);
  // The last threads copy, so that forward the first ones would read too early.
  for (int i = 127 - thread; i < 2 * kColumns; i += 128) {
    const int to = place_in_b(i / 2, 2 * p.step + i % 2, p.group_bytes);
    copy_async_16(room, to / 4, p.b + 16 * i, 16);
  }
  commit_copies();
  if (p.mistake == Mistake::kAsyncFenceBeforeCopies) fence_async_proxy();
  wait_copies<0>();
  if (p.mistake != Mistake::kNoAsyncFence && p.mistake != Mistake::kAsyncFenceBeforeCopies)
    fence_async_proxy();
  if (p.mistake != Mistake::kNoBarrier) sync_threads();

  uint32_t a[4];
  std::memcpy(a, p.a + 4 * thread, sizeof(a));
  Sum d[kColumns / 2];
  std::memcpy(d, p.d + thread * (kColumns / 2), sizeof(d));
  if (p.mistake != Mistake::kNoProductFence) fence_products();
  const bool left_out = p.mistake == Mistake::kOneWarpIssuesNone && thread >= 96;
  uint64_t b = descriptor_of(p, room);
  if (p.mistake == Mistake::kWarpsDiffer && thread >= 96) b += kDescriptorStep;
  if (!left_out) multiply<Sum, kColumns>(p, d, a, b);
  commit_products();
  if (p.mistake == Mistake::kChangesLeftBeforeWait) a[0] ^= 0x0101u;
  if (p.mistake == Mistake::kCopiesBeforeWait) {
    copy_async_16(room, 0, p.b + 16, 16);
    commit_copies();
  }
  if (p.mistake == Mistake::kReadsBeforeWait) std::memcpy(p.d + thread * (kColumns / 2), d, sizeof(d));
  if (p.mistake != Mistake::kNoWait) wait_products<0>();
  wait_copies<0>();
  sync_threads();
  if (p.mistake != Mistake::kReadsBeforeWait) std::memcpy(p.d + thread * (kColumns / 2), d, sizeof(d));
}

// PTX ISA, "Register Fragments" of wgmma.mma_async.m64nNk16 and m64nNk32: element i of a thread's a and d.
struct StepPlace {
  int row, column;
};
StepPlace place_in_a(StepType product, int thread, int i) {
  const int warp = thread / 32, group = thread % 32 / 4, in_group = thread % 4;
  if (product == StepType::kInt8) {
    const bool upper = (0 <= i && i < 4) || (8 <= i && i < 12);
    return {16 * warp + (upper ? group : group + 8), in_group * 4 + (i & 3) + (i < 8 ? 0 : 16)};
  }
  const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
  return {16 * warp + (upper ? group : group + 8), in_group * 2 + (i & 1) + (i < 4 ? 0 : 8)};
}
StepPlace place_in_d(int thread, int i) {
  const int warp = thread / 32, group = thread % 32 / 4, in_group = thread % 4;
  return {16 * warp + group + (i % 4 < 2 ? 0 : 8), i / 4 * 8 + in_group * 2 + (i & 1)};
}

// Random operands and what their product is.
template <typename Sum>
struct StepFixture {
  StepFixture(StepType chosen, int num_columns, bool adds)
      : product(chosen),
        columns(num_columns),
        bytes(product == StepType::kInt8 ? 1 : 2),
        inner(32 / bytes),
        accumulate(adds),
        values(static_cast<uint64_t>(chosen) * 1000 + static_cast<uint64_t>(num_columns)) {
    for (int i = 0; i < 64 * inner; ++i) a.push_back(next());
    for (int i = 0; i < columns * inner; ++i) b.push_back(next());
    for (int i = 0; i < 64 * columns; ++i) c.push_back(next());
    a_words.resize(128 * 4);
    b_bytes.resize(static_cast<size_t>(32 * columns));
    for (int thread = 0; thread < 128; ++thread) {
      for (int i = 0; i < 16 / bytes; ++i) {
        const StepPlace place = place_in_a(product, thread, i);
        put(reinterpret_cast<std::byte*>(a_words.data() + 4 * thread) + bytes * i,
            a[index(place.row * inner + place.column)]);
      }
    }
    for (int i = 0; i < columns * inner; ++i) put(b_bytes.data() + bytes * i, b[index(i)]);
  }
  static size_t index(int i) { return static_cast<size_t>(i); }
  double next() {
    if (product == StepType::kInt8) return static_cast<double>(values.below(256) - 128);
    return std::nearbyint(values.next() * 64) / 16;  // exact in every 16-bit type
  }
  void put(std::byte* to, double value) const {
    const auto f = static_cast<float>(value);
    if (product == StepType::kInt8) {
      *to = static_cast<std::byte>(static_cast<int8_t>(value));
    } else {
      const uint16_t bits =
          product == StepType::kBFloat16 ? from_float<BFloat16>(f).bits : from_float<Float16>(f).bits;
      std::memcpy(to, &bits, sizeof(bits));
    }
  }
  std::vector<Sum> sums_by_thread(bool results) const {
    std::vector<Sum> d;
    for (int thread = 0; thread < 128; ++thread) {
      for (int i = 0; i < columns / 2; ++i) {
        const StepPlace place = place_in_d(thread, i);
        double sum = accumulate || !results ? c[index(place.row * columns + place.column)] : 0;
        for (int k = 0; results && k < inner; ++k)
          sum += a[index(place.row * inner + k)] * b[index(place.column * inner + k)];
        d.push_back(static_cast<Sum>(sum));
      }
    }
    return d;
  }
  template <int kColumns>
  std::vector<Sum> run(int step, int group_bytes, Mistake mistake = Mistake::kNone) const {
    std::vector<Sum> d = sums_by_thread(false);
    launch(step_kernel<Sum, kColumns>, {.threads = 128, .shared_bytes = kTestRoom},
           StepParams{a_words.data(), b_bytes.data(), reinterpret_cast<uint32_t*>(d.data()), product, mistake,
                      step, group_bytes, accumulate});
    return d;
  }

  StepType product;
  int columns, bytes, inner;
  bool accumulate;
  Values values;
  std::vector<double> a, b, c;  // [64, inner], [columns, inner], [64, columns]
  std::vector<uint32_t> a_words;
  std::vector<std::byte> b_bytes;
};

template <typename Sum, int kColumns>
void expect_products(StepType product) {
  for (ThreadOrder order : {ThreadOrder::kForward, ThreadOrder::kBackward}) {
    set_thread_order(order);
    for (bool accumulate : {false, true}) {
      const StepFixture<Sum> fixture(product, kColumns, accumulate);
      const std::vector<Sum> want = fixture.sums_by_thread(true);
      for (int step = 0; step < 4; ++step)
        EXPECT_EQ(fixture.template run<kColumns>(step, 1024), want)
            << static_cast<int>(product) << " columns " << kColumns << " step " << step;
      // Groups of rows that do not follow each other.
      if (kColumns <= 64) {
        EXPECT_EQ(fixture.template run<kColumns>(1, 3072), want) << kColumns;
      }
    }
  }
  set_thread_order(ThreadOrder::kForward);
}

TEST(CudaHopperGrid, ProductsFollowTheFragmentAndDescriptorTables) {
  for (StepType product : {StepType::kBFloat16, StepType::kFloat16}) {
    expect_products<float, 16>(product);
    expect_products<float, 32>(product);
    expect_products<float, 64>(product);
    expect_products<float, 192>(product);
  }
  expect_products<int32_t, 64>(StepType::kInt8);
  expect_products<int32_t, 256>(StepType::kInt8);
}

// Bit by bit, from the table of the matrix descriptor.
TEST(CudaHopperGrid, DescriptorFields) {
  const uint64_t descriptor = rows_descriptor(0x2a460, 3072);
  EXPECT_EQ(descriptor & 0x3fff, 0x2a46u);           // (address & 0x3ffff) >> 4
  EXPECT_EQ(descriptor >> 16 & 0x3fff, 1u);          // leading: assumed 1
  EXPECT_EQ(descriptor >> 32 & 0x3fff, 192u);        // 3072 >> 4
  EXPECT_EQ(descriptor >> 49 & 7, 0u);               // base offset
  EXPECT_EQ(descriptor >> 62, 1u);                   // 128-byte swizzling
  EXPECT_EQ(descriptor & ~0xc00e3fff3fff3fffu, 0u);  // nothing else
  EXPECT_EQ(rows_descriptor(0x2a460 + 32, 3072), descriptor + kDescriptorStep);
}

// swizzled_word against the table above.
TEST(CudaHopperGrid, SwizzledWords) {
  for (int row = 0; row < 24; ++row)
    for (int piece = 0; piece < 8; ++piece)
      EXPECT_EQ(swizzled_word(row, piece), kPieceOfRow[row % 8][piece] * 4) << row << ", " << piece;
}

std::vector<float> run_mistake(Mistake mistake, ThreadOrder order) {
  set_thread_order(order);
  const StepFixture<float> fixture(StepType::kBFloat16, 64, true);
  std::vector<float> d = fixture.run<64>(0, 1024, mistake);
  set_thread_order(ThreadOrder::kForward);
  return d;
}

TEST(CudaHopperGrid, ResultsShowWhatIsChangedOrReadBeforeTheWait) {
  const std::vector<float> want = run_mistake(Mistake::kNone, ThreadOrder::kBackward);
  EXPECT_EQ(run_mistake(Mistake::kNone, ThreadOrder::kForward), want);
  EXPECT_NE(run_mistake(Mistake::kReadsBeforeWait, ThreadOrder::kBackward), want);
  EXPECT_NE(run_mistake(Mistake::kChangesLeftBeforeWait, ThreadOrder::kBackward), want);
}

TEST(CudaHopperGridDeathTest, BrokenRulesEndTheProcess) {
  const auto both = {ThreadOrder::kForward, ThreadOrder::kBackward};
  for (ThreadOrder order : both) {
    EXPECT_DEATH(run_mistake(Mistake::kNoAsyncFence, order), "without fence_async_proxy");
    EXPECT_DEATH(run_mistake(Mistake::kNoProductFence, order), "begins products without fence_products");
    EXPECT_DEATH(run_mistake(Mistake::kOneWarpIssuesNone, order),
                 "warp 3 issued 0 products, its warpgroup 1");
    EXPECT_DEATH(run_mistake(Mistake::kNoSwizzle, order), "swizzling mode 0");
    EXPECT_DEATH(run_mistake(Mistake::kUnaligned, order), "not where 1024 bytes begin");
  }
  // One order is enough to see these.
  EXPECT_DEATH(run_mistake(Mistake::kAsyncFenceBeforeCopies, ThreadOrder::kForward),
               "without fence_async_proxy");
  EXPECT_DEATH(run_mistake(Mistake::kWarpsDiffer, ThreadOrder::kForward),
               "issues another product than its warpgroup");
  EXPECT_DEATH(run_mistake(Mistake::kNoBarrier, ThreadOrder::kForward), "which no copy has written");
  EXPECT_DEATH(run_mistake(Mistake::kNoWait, ThreadOrder::kBackward), "ends before its products");
  EXPECT_DEATH(run_mistake(Mistake::kCopiesBeforeWait, ThreadOrder::kBackward), "copied by thread");
}

void few_threads_kernel(StepParams) {
  begin_kernel();
  fence_products();
}
void large_kernel(StepParams) { begin_kernel(); }

TEST(CudaHopperGridDeathTest, Launches) {
  EXPECT_DEATH(launch(few_threads_kernel, {.threads = 96}, StepParams{}), "fence_products with 96 threads");
  LaunchShape shape{.threads = 128, .shared_bytes = kHopperSharedBytes};
  EXPECT_DEATH(launch(large_kernel, shape, StepParams{}), "232448 bytes of shared memory");
  shape.shared_limit = kHopperSharedBytes;
  EXPECT_EQ(launch(large_kernel, shape, StepParams{}), 0);
}

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
