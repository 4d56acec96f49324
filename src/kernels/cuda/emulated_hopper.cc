// Products of warpgroups on the emulated device, written from the PTX ISA ("Asynchronous Warpgroup Level
// Matrix Instructions"): the layouts of fragments, the matrix descriptor, swizzling, groups and fences.
#include "kernels/cuda/hopper_grid.h"

#include <array>
#include <vector>

namespace fathom::kernels::cuda_emulated {
namespace {

// Where a block's dynamic shared memory begins: not at 0, so that an offset is not an address.
constexpr uint32_t kSharedBegin = 1024;
constexpr int kPieceBytes = 16;

// A warp's part of a product: 16 rows.
struct WarpProduct {
  std::array<ThreadProduct, kWarpLanes> lanes;
};
struct Warp {
  std::vector<std::vector<WarpProduct>> groups = {{}};  // the last one not committed; products still to do
  size_t issued = 0;                                    // since the last barrier
  bool is_fenced = false;
};

constexpr int kNeverCopied = -1;
constexpr int kVisible = -2;

struct Block {
  std::vector<ThreadProduct> current;  // by thread
  std::vector<Warp> warps;
  std::vector<std::vector<uint64_t>> issued;  // descriptors by warpgroup, since the last barrier
  // By 16 bytes of shared memory: the thread that copied them and has not called fence_async_proxy(), or
  // one of the above.
  std::vector<int> writers;
  std::vector<std::vector<size_t>> unfenced;  // the same by thread
  size_t shared_bytes = 0;
};
Block& block() {
  thread_local Block the_block;
  return the_block;
}

// PTX ISA, "Matrix Descriptor Format".
struct Descriptor {
  explicit Descriptor(uint64_t bits)
      : address(static_cast<uint32_t>(bits & 0x3fff) << 4),
        stride(static_cast<uint32_t>(bits >> 32 & 0x3fff) << 4) {
    const auto mode = static_cast<int>(bits >> 62);
    const auto base_offset = static_cast<int>(bits >> 49 & 7);
    FATHOM_CHECK(mode == 1, "swizzling mode {} of a product's operand; emulated is 1, 128 bytes", mode);
    FATHOM_CHECK(base_offset == 0 && (address >> 7 & 7) == 0,
                 "rows of a product at {:#x} with base offset {}: not where 1024 bytes begin", address,
                 base_offset);
  }
  // "K-major", ((8,m),(T,2k)) : ((8T,SBO),(1,T)) in elements, T of which are 16 bytes; then Swizzle<3,4,3>:
  // bits 4 to 6 of the address are changed by bits 7 to 9.
  uint32_t address_of(int row, int byte) const {
    const uint32_t linear = address + static_cast<uint32_t>(row / 8) * stride +
                            static_cast<uint32_t>(row % 8) * 128 + static_cast<uint32_t>(byte);
    return linear ^ (linear >> 7 & 7) << 4;
  }
  uint32_t address;
  uint32_t stride;
};

uint32_t load_word(uint32_t address) {
  const Block& b = block();
  FATHOM_CHECK(address >= kSharedBegin && address + 4 <= kSharedBegin + b.shared_bytes,
               "a product reads address {} of {} bytes of shared memory", address, b.shared_bytes);
  const size_t offset = address - kSharedBegin;
  const int writer = b.writers[offset / kPieceBytes];
  FATHOM_CHECK(writer == kVisible, "a product reads byte {} of shared memory, {}", offset,
               writer == kNeverCopied
                   ? std::string("which no copy has written")
                   : "copied by thread " + std::to_string(writer) + " without fence_async_proxy");
  uint32_t word = 0;
  std::memcpy(&word, dynamic_shared(offset, sizeof(word)), sizeof(word));
  return word;
}

float number(uint16_t bits, ProductType type) {
  return type == ProductType::kBFloat16 ? to_float(BFloat16{bits}) : to_float(Float16{bits});
}

// Appends a word's elements.
template <typename Number>
void unpack(uint32_t word, ProductType type, std::vector<Number>& to) {
  if (type == ProductType::kInt8) {
    for (int i = 0; i < 4; ++i) to.push_back(static_cast<Number>(static_cast<int8_t>(word >> 8 * i)));
  } else {
    for (int i = 0; i < 2; ++i)
      to.push_back(static_cast<Number>(number(static_cast<uint16_t>(word >> 16 * i), type)));
  }
}

// "Matrix fragments for wgmma.mma_async.m64nNk16" and "k32": word w of row r of the warp's 16 is register
// w / 4 * 2 + r / 8 of lane r % 8 * 4 + w % 4; sum i of a lane is row lane / 4 + i % 4 / 2 * 8, column
// i / 4 * 8 + lane % 4 * 2 + i % 2. Sums are those of mma.sync.
template <typename Number>
void multiply(const WarpProduct& product) {
  const ThreadProduct& first = product.lanes[0];
  const Descriptor rows(first.b);
  const auto sum_at = [&](size_t row, size_t column) -> Number& {
    const ThreadProduct& own = product.lanes[row % 8 * 4 + column % 8 / 2];
    return static_cast<Number*>(own.d)[column / 8 * 4 + row / 8 * 2 + column % 2];
  };
  std::vector<Number> a, b;  // [16, inner], [columns, inner]
  for (size_t row = 0; row < 16; ++row)
    for (size_t word = 0; word < 8; ++word)
      unpack(product.lanes[row % 8 * 4 + word % 4].a[word / 4 * 2 + row / 8], first.type, a);
  for (int column = 0; column < first.columns; ++column)
    for (int word = 0; word < 8; ++word) unpack(load_word(rows.address_of(column, 4 * word)), first.type, b);
  const size_t inner = a.size() / 16;
  std::vector<Number> products(inner);
  for (size_t row = 0; row < 16; ++row) {
    for (size_t n = 0; n < static_cast<size_t>(first.columns); ++n) {
      for (size_t k = 0; k < inner; ++k) products[k] = a[row * inner + k] * b[n * inner + k];
      Number& sum = sum_at(row, n);
      sum = tensor_core_sum(first.accumulate ? sum : Number{0}, products.data(), static_cast<int>(inner));
    }
  }
}

void carry_out(const WarpProduct& product) {
  if (product.lanes[0].type == ProductType::kInt8) {
    multiply<int32_t>(product);
  } else {
    multiply<float>(product);
  }
}

// The warp whose lanes brought their threads' numbers.
Warp& warp_of(const LaneWords* lanes) { return block().warps[lanes[0].in[0] / kWarpLanes]; }

void combine_fence(LaneWords* lanes) { warp_of(lanes).is_fenced = true; }

void combine_product(LaneWords* lanes) {
  Block& b = block();
  Warp& warp = warp_of(lanes);
  const size_t thread = lanes[0].in[0];
  FATHOM_CHECK(warp.is_fenced, "thread {} begins products without fence_products", thread);
  WarpProduct product;
  for (size_t i = 0; i < kWarpLanes; ++i) {
    product.lanes[i] = b.current[thread + i];
    FATHOM_CHECK(product.lanes[i].b == product.lanes[0].b &&
                     product.lanes[i].accumulate == product.lanes[0].accumulate,
                 "threads {} and {} issue different products", thread, thread + i);
  }
  std::vector<uint64_t>& issued = b.issued[thread / kWarpgroupThreads];
  if (warp.issued == issued.size()) issued.push_back(product.lanes[0].b);
  FATHOM_CHECK(issued[warp.issued] == product.lanes[0].b,
               "thread {} issues another product than its warpgroup", thread);
  ++warp.issued;
  if (thread_order() == ThreadOrder::kForward) {
    carry_out(product);
  } else {
    warp.groups.back().push_back(product);
  }
}

void combine_commit(LaneWords* lanes) {
  Warp& warp = warp_of(lanes);
  warp.groups.emplace_back();
  warp.is_fenced = false;
}

void combine_wait(LaneWords* lanes) {
  Warp& warp = warp_of(lanes);
  while (warp.groups.size() - 1 > lanes[0].in[1]) {
    for (const WarpProduct& product : warp.groups.front()) carry_out(product);
    warp.groups.erase(warp.groups.begin());
  }
}

void collective(const char* name, Combine combine, uint32_t argument) {
  FATHOM_CHECK(block_threads() % kWarpgroupThreads == 0, "{} with {} threads", name, block_threads());
  const uint32_t in[] = {static_cast<uint32_t>(thread_index()), argument};
  warp_collective(name, combine, in, 2);
}

}  // namespace

uint32_t address_in_shared(const void* data) {
  const auto* begin = dynamic_shared(0, 0);
  return kSharedBegin + static_cast<uint32_t>(static_cast<const unsigned char*>(data) - begin);
}

void fence_async_proxy() {
  Block& b = block();
  const int thread = thread_index();
  auto& own = b.unfenced[static_cast<size_t>(thread)];
  for (size_t piece : own)
    if (b.writers[piece] == thread) b.writers[piece] = kVisible;
  own.clear();
}

void fence_products() { collective("fence_products", combine_fence, 0); }
void commit_products() { collective("commit_products", combine_commit, 0); }
void wait_for_products(int pending_groups) {
  collective("wait_products", combine_wait, static_cast<uint32_t>(pending_groups));
}
void issue_product(const ThreadProduct& product) {
  block().current[static_cast<size_t>(thread_index())] = product;
  collective("a product", combine_product, 0);
}

void begin_products_block(int threads, size_t shared_bytes) {
  Block& b = block();
  const auto count = static_cast<size_t>(threads);
  b.current.assign(count, {});
  b.warps.assign(count / kWarpLanes, {});
  b.issued.assign((count + kWarpgroupThreads - 1) / kWarpgroupThreads, {});
  b.writers.assign((shared_bytes + kPieceBytes - 1) / kPieceBytes, kNeverCopied);
  b.unfenced.assign(count, {});
  b.shared_bytes = shared_bytes;
}

void note_copy(const void* to, int bytes) {
  Block& b = block();
  const size_t offset = address_in_shared(to) - kSharedBegin;
  for (size_t piece = offset / kPieceBytes; piece * kPieceBytes < offset + static_cast<size_t>(bytes);
       ++piece) {
    b.writers[piece] = thread_index();
    b.unfenced[static_cast<size_t>(thread_index())].push_back(piece);
  }
}

void check_products_at_barrier() {
  Block& b = block();
  for (size_t i = 0; i < b.warps.size(); ++i) {
    const size_t all = b.issued[i / kWarpgroupWarps].size();
    FATHOM_CHECK(b.warps[i].issued == all, "warp {} issued {} products, its warpgroup {}", i,
                 b.warps[i].issued, all);
    b.warps[i].issued = 0;
  }
  for (auto& issued : b.issued) issued.clear();
}

void check_products_at_end() {
  check_products_at_barrier();
  for (size_t i = 0; i < block().warps.size(); ++i) {
    const auto& groups = block().warps[i].groups;
    FATHOM_CHECK(groups.size() == 1 && groups[0].empty(), "warp {} ends before its products", i);
  }
}

}  // namespace fathom::kernels::cuda_emulated
