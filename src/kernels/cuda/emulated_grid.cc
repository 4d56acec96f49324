// Fibers, barriers and collectives of the emulated device.
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/hopper_grid.h"

// Saves the callee's registers on this stack, its pointer in *save, and goes on where `stack` was saved.
extern "C" void fathom_switch_stack(void** save, void* stack);
asm(R"(
.text
.p2align 4
.type fathom_switch_stack,@function
fathom_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size fathom_switch_stack,.-fathom_switch_stack
)");

namespace fathom::kernels::cuda_emulated {
namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr int kSavedRegisters = 6;

enum class State : uint8_t { kReady, kAtBarrier, kAtCollective, kDone };

struct Copy {
  void* to;
  const void* from;
  int bytes;
  int valid_bytes;
};

void carry_out(const Copy& copy) {
  const auto valid = static_cast<size_t>(copy.valid_bytes);
  std::memcpy(copy.to, copy.from, valid);
  std::memset(static_cast<std::byte*>(copy.to) + valid, 0, static_cast<size_t>(copy.bytes) - valid);
  note_copy(copy.to, copy.bytes);
}

struct Fiber {
  std::unique_ptr<std::byte[]> stack;
  void* saved = nullptr;
  State state = State::kDone;
  bool has_begun = false;
  const char* collective = nullptr;
  Combine combine = nullptr;
  std::vector<std::vector<Copy>> copies = {{}};  // groups, the last one not committed
};

// The grid that the calling thread runs.
struct Grid {
  LaunchShape shape;
  void (*body)(const void*) = nullptr;
  const void* arguments = nullptr;
  int64_t block_x = 0, block_y = 0;
  int current = 0;  // thread
  void* scheduler = nullptr;
  std::vector<Fiber> fibers;      // of the largest block so far: their stacks are kept
  std::vector<LaneWords> words;   // by thread
  std::vector<std::byte> shared;  // with room to align
  unsigned char* shared_begin = nullptr;
  ThreadOrder order = ThreadOrder::kForward;
  RecordedLaunches* recorder = nullptr;
  bool is_running = false;
};

DeviceRules& device_rules() {
  static DeviceRules the_rules;
  return the_rules;
}

Grid& grid() {
  thread_local Grid the_grid;
  return the_grid;
}

std::span<Fiber> fibers_of_block(Grid& g) { return {g.fibers.data(), static_cast<size_t>(g.shape.threads)}; }

Fiber& current_fiber(Grid& g) { return g.fibers[static_cast<size_t>(g.current)]; }

std::string where(const Fiber& fiber) {
  switch (fiber.state) {
    case State::kAtBarrier:
      return "at a barrier";
    case State::kAtCollective:
      return std::string("at ") + fiber.collective;
    case State::kDone:
      return "at its end";
    default:
      return "ready";
  }
}

// Not inlined: a fiber that is done never comes back from leave_fiber, whose frame must hold nothing that
// AddressSanitizer guards.
[[gnu::noinline]] void check_begun(const Grid& g, const Fiber& fiber) {
  FATHOM_CHECK(fiber.has_begun, "thread {} is {} before begin_kernel", g.current, where(fiber));
}

void leave_fiber(State state) {
  Grid& g = grid();
  Fiber& fiber = current_fiber(g);
  fiber.state = state;
  check_begun(g, fiber);
  fathom_switch_stack(&fiber.saved, g.scheduler);
}

void fiber_main() {
  grid().body(grid().arguments);
  leave_fiber(State::kDone);
  std::abort();  // a fiber that has ended is never resumed
}

// A stack from which fathom_switch_stack returns into fiber_main.
void prepare_fiber(Fiber& fiber) {
  if (fiber.stack == nullptr) fiber.stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  const auto top = (reinterpret_cast<uintptr_t>(fiber.stack.get()) + kStackBytes) / 16 * 16;
  auto* slot = reinterpret_cast<void**>(top);
  *--slot = nullptr;  // where a caller's return address would be
  *--slot = reinterpret_cast<void*>(fiber_main);
  for (int i = 0; i < kSavedRegisters; ++i) *--slot = nullptr;
  fiber.saved = slot;
  fiber.state = State::kReady;
  fiber.has_begun = false;
  fiber.copies.assign(1, {});
}

// Visits [0, count) in the chosen order.
template <typename Visit>
void in_order(const Grid& g, int count, const Visit& visit) {
  for (int i = 0; i < count; ++i) visit(g.order == ThreadOrder::kForward ? i : count - 1 - i);
}

// Completes the collective at which all lanes of a warp are; false where none is at one.
bool complete_collective(Grid& g, int first) {
  const auto begin = static_cast<size_t>(first);
  size_t waiting = begin;
  while (waiting < begin + kWarpLanes && g.fibers[waiting].state != State::kAtCollective) ++waiting;
  if (waiting == begin + kWarpLanes) return false;
  const Fiber& some = g.fibers[waiting];
  for (size_t i = begin; i < begin + kWarpLanes; ++i) {
    const Fiber& fiber = g.fibers[i];
    FATHOM_CHECK(fiber.state == State::kAtCollective && fiber.combine == some.combine,
                 "a warp's lanes part: thread {} is {}, thread {} {}", waiting, where(some), i, where(fiber));
  }
  some.combine(g.words.data() + begin);
  for (size_t i = begin; i < begin + kWarpLanes; ++i) g.fibers[i].state = State::kReady;
  return true;
}

// Runs a warp until each lane is at a barrier or at its end.
void run_warp(Grid& g, int warp) {
  const int first = warp * kWarpLanes;
  do {
    in_order(g, kWarpLanes, [&](int lane) {
      g.current = first + lane;
      Fiber& fiber = current_fiber(g);
      if (fiber.state == State::kReady) fathom_switch_stack(&g.scheduler, fiber.saved);
    });
  } while (complete_collective(g, first));
}

// Lets all threads go on from a barrier; false where all have ended.
bool release_barrier(Grid& g) {
  const Fiber& some = g.fibers[0];
  for (const Fiber& fiber : fibers_of_block(g))
    FATHOM_CHECK(fiber.state == some.state, "a block's threads part: thread 0 is {}, thread {} {}",
                 where(some), &fiber - g.fibers.data(), where(fiber));
  if (some.state == State::kDone) return false;
  check_products_at_barrier();
  for (Fiber& fiber : fibers_of_block(g)) fiber.state = State::kReady;
  return true;
}

void run_block(Grid& g) {
  std::fill(g.shared.begin(), g.shared.end(), std::byte{0xff});
  for (Fiber& fiber : fibers_of_block(g)) prepare_fiber(fiber);
  begin_products_block(g.shape.threads, g.shape.shared_bytes);
  do {
    in_order(g, g.shape.threads / kWarpLanes, [&](int warp) { run_warp(g, warp); });
  } while (release_barrier(g));
  check_products_at_end();
}

// Element i of 16-bit or byte elements in a word.
template <typename Element>
Element element(uint32_t word, int i) {
  return static_cast<Element>(word >> (8 * static_cast<int>(sizeof(Element)) * i));
}

float bf16_value(uint16_t bits) { return to_float(BFloat16{bits}); }
float fp16_value(uint16_t bits) { return to_float(Float16{bits}); }
int32_t int8_value(int8_t value) { return value; }
constexpr uint32_t kExponent = 0x7f800000;  // of float32's bits
constexpr int kSumBits = 24;

}  // namespace

float tensor_core_sum(float c, const float* products, int count) {
  uint32_t largest = std::bit_cast<uint32_t>(c) & kExponent;
  for (int i = 0; i < count; ++i)
    largest = std::max(largest, std::bit_cast<uint32_t>(products[i]) & kExponent);
  if (largest == kExponent) return std::accumulate(products, products + count, c);
  // In units of the last kept bit of the largest term.
  const int unit = std::max(static_cast<int>(largest >> 23), 1) - 127 - kSumBits;
  const double to_units = std::ldexp(1.0, -unit);
  auto sum = static_cast<int64_t>(c * to_units);
  for (int i = 0; i < count; ++i) sum += static_cast<int64_t>(products[i] * to_units);
  // To float32 towards zero.
  const int extra = std::max(static_cast<int>(std::bit_width(static_cast<uint64_t>(std::abs(sum)))) - 24, 0);
  const int64_t kept = std::abs(sum) >> extra << extra;
  return std::ldexp(static_cast<float>(sum < 0 ? -kept : kept), unit);
}

int32_t tensor_core_sum(int32_t c, const int32_t* products, int count) {
  return static_cast<int32_t>(std::accumulate(products, products + count, int64_t{c}));
}

namespace {

// c += a b, from the fragment layouts of mma.sync m16n8 (PTX ISA, "Matrix fragments"), k in words of 4 bytes:
// A row g = lane / 4 (+8) of words lane % 4 (+4), B column g of the same words, C rows g (+8) of columns 2
// (lane % 4) (+1). The products of two 16-bit floats are exact in float32.
template <typename Element, typename Number, auto kValue>
void multiply_warp(LaneWords* lanes) {
  constexpr int kPerWord = 4 / static_cast<int>(sizeof(Element));
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      LaneWords& target = lanes[row % 8 * 4 + column / 2];
      const int c_index = row / 8 * 2 + column % 2;
      Number products[8 * kPerWord];
      for (int word = 0; word < 8; ++word) {
        const uint32_t a = lanes[row % 8 * 4 + word % 4].in[word / 4 * 2 + row / 8];
        const uint32_t b = lanes[column * 4 + word % 4].in[4 + word / 4];
        for (int i = 0; i < kPerWord; ++i)
          products[word * kPerWord + i] = kValue(element<Element>(a, i)) * kValue(element<Element>(b, i));
      }
      const auto c = std::bit_cast<Number>(target.in[6 + c_index]);
      target.out[c_index] = std::bit_cast<uint32_t>(tensor_core_sum(c, products, 8 * kPerWord));
    }
  }
}

// The 16-bit element in a row and column of matrix m, whose rows' addresses the lanes brought.
uint32_t matrix_element(const LaneWords* lanes, int m, int row, int column) {
  const uint32_t* in = lanes[8 * m + row].in;
  const auto address = static_cast<uintptr_t>(uint64_t{in[1]} << 32 | in[0]);
  return reinterpret_cast<const uint16_t*>(address)[column];
}

}  // namespace

void set_thread_order(ThreadOrder order) { grid().order = order; }
ThreadOrder thread_order() { return grid().order; }

void set_device_rules(const DeviceRules& rules) { device_rules() = rules; }

void set_launch_recorder(RecordedLaunches* launches) { grid().recorder = launches; }
RecordedLaunches* launch_recorder() { return grid().recorder; }

void begin_kernel() { current_fiber(grid()).has_begun = true; }
int thread_index() { return grid().current; }
int block_threads() { return grid().shape.threads; }
int64_t block_x() { return grid().block_x; }
int64_t block_y() { return grid().block_y; }

void sync_threads() { leave_fiber(State::kAtBarrier); }

const uint32_t* warp_collective(const char* name, Combine combine, const uint32_t* in, int num_words) {
  Grid& g = grid();
  LaneWords& words = g.words[static_cast<size_t>(g.current)];
  std::copy(in, in + num_words, words.in);
  current_fiber(g).collective = name;
  current_fiber(g).combine = combine;
  leave_fiber(State::kAtCollective);
  return words.out;
}

void combine_nothing(LaneWords*) {}

void combine_shuffle(LaneWords* lanes) {
  for (int i = 0; i < kWarpLanes; ++i) {
    FATHOM_CHECK(lanes[i].in[1] < kWarpLanes, "shuffle from lane {}", lanes[i].in[1]);
    lanes[i].out[0] = lanes[lanes[i].in[1]].in[0];
  }
}

void combine_ballot(LaneWords* lanes) {
  uint32_t votes = 0;
  for (int i = 0; i < kWarpLanes; ++i) votes |= lanes[i].in[0] << i;
  for (int i = 0; i < kWarpLanes; ++i) lanes[i].out[0] = votes;
}

void combine_max(LaneWords* lanes) {
  uint32_t largest = 0;
  for (int i = 0; i < kWarpLanes; ++i) largest = std::max(largest, lanes[i].in[0]);
  for (int i = 0; i < kWarpLanes; ++i) lanes[i].out[0] = largest;
}

void combine_sum(LaneWords* lanes) {
  uint32_t sum = 0;
  for (int i = 0; i < kWarpLanes; ++i) sum += lanes[i].in[0];
  for (int i = 0; i < kWarpLanes; ++i) lanes[i].out[0] = sum;
}

void combine_load_matrices(LaneWords* lanes) {
  for (int i = 0; i < kWarpLanes; ++i)
    for (int m = 0; m < 4; ++m)
      lanes[i].out[m] =
          matrix_element(lanes, m, i / 4, i % 4 * 2) | matrix_element(lanes, m, i / 4, i % 4 * 2 + 1) << 16;
}

void combine_load_transposed(LaneWords* lanes) {
  for (int i = 0; i < kWarpLanes; ++i)
    for (int m = 0; m < 4; ++m)
      lanes[i].out[m] =
          matrix_element(lanes, m, i % 4 * 2, i / 4) | matrix_element(lanes, m, i % 4 * 2 + 1, i / 4) << 16;
}

void combine_mma_bf16(LaneWords* lanes) { multiply_warp<uint16_t, float, bf16_value>(lanes); }
void combine_mma_fp16(LaneWords* lanes) { multiply_warp<uint16_t, float, fp16_value>(lanes); }
void combine_mma_int8(LaneWords* lanes) { multiply_warp<int8_t, int32_t, int8_value>(lanes); }

unsigned char* dynamic_shared(size_t begin, size_t bytes) {
  const Grid& g = grid();
  FATHOM_CHECK(begin + bytes <= g.shape.shared_bytes, "bytes [{}, {}) of {} in shared memory", begin,
               begin + bytes, g.shape.shared_bytes);
  return g.shared_begin + begin;
}

void queue_copy(void* to, const void* from, int bytes, int valid_bytes) {
  const auto alignment = static_cast<uintptr_t>(bytes);
  FATHOM_CHECK(
      reinterpret_cast<uintptr_t>(to) % alignment == 0 && reinterpret_cast<uintptr_t>(from) % alignment == 0,
      "a copy of {} bytes at {} from {}", bytes, to, from);
  FATHOM_CHECK(valid_bytes >= 0 && valid_bytes <= bytes, "{} bytes of {}", valid_bytes, bytes);
  const Copy copy{to, from, bytes, valid_bytes};
  if (grid().order == ThreadOrder::kBackward) {
    carry_out(copy);
  } else {
    current_fiber(grid()).copies.back().push_back(copy);
  }
}

void commit_copies() { current_fiber(grid()).copies.emplace_back(); }

void wait_for_copies(int pending_groups) {
  auto& groups = current_fiber(grid()).copies;
  while (static_cast<int>(groups.size()) - 1 > pending_groups) {
    for (const Copy& copy : groups.front()) carry_out(copy);
    groups.erase(groups.begin());
  }
}

void run_grid(const LaunchShape& shape, void (*body)(const void*), const void* arguments) {
  Grid& g = grid();
  FATHOM_CHECK(!g.is_running, "a launch inside a launch");
  FATHOM_CHECK(shape.stream == device_rules().stream, "a launch on another stream than the device's");
  FATHOM_CHECK(shape.threads > 0 && shape.threads <= 1024 && shape.threads % kWarpLanes == 0, "{} threads",
               shape.threads);
  FATHOM_CHECK(shape.shared_bytes <= shape.shared_limit, "{} bytes of shared memory", shape.shared_bytes);
  FATHOM_CHECK(shape.blocks_x >= 0 && shape.blocks_x < int64_t{1} << 31 && shape.blocks_y >= 0 &&
                   shape.blocks_y < 65536,
               "{} x {} blocks", shape.blocks_x, shape.blocks_y);
  g.is_running = true;
  g.shape = shape;
  g.body = body;
  g.arguments = arguments;
  if (g.fibers.size() < static_cast<size_t>(shape.threads))
    g.fibers.resize(static_cast<size_t>(shape.threads));
  g.words.resize(static_cast<size_t>(shape.threads));
  g.shared.resize(shape.shared_bytes + kSharedAlignment);
  const auto shared = reinterpret_cast<uintptr_t>(g.shared.data());
  g.shared_begin =
      reinterpret_cast<unsigned char*>((shared + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment);
  device_rules().enter();
  for (g.block_y = 0; g.block_y < shape.blocks_y; ++g.block_y)
    for (g.block_x = 0; g.block_x < shape.blocks_x; ++g.block_x) run_block(g);
  device_rules().leave();
  g.is_running = false;
}

}  // namespace fathom::kernels::cuda_emulated
