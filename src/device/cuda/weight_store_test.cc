#include "device/cuda/weight_store.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

namespace fathom {
namespace {

struct Copy {
  const void* host;
  void* device;
  size_t bytes;
};

// Copies that have not been carried out yet: they take place when the stream is waited for.
std::vector<Copy>& pending() {
  static std::vector<Copy> the_copies;
  return the_copies;
}

Result<void*> allocate(size_t bytes) { return std::aligned_alloc(256, (bytes + 255) / 256 * 256); }
void release(void* data, size_t) { std::free(data); }

Status carry_out(void*) {
  for (const Copy& copy : std::exchange(pending(), {})) std::memcpy(copy.device, copy.host, copy.bytes);
  return ok_status();
}

// Copies as late as it may.
CudaDevice late_device() {
  pending().clear();
  return {.allocate = allocate,
          .release = release,
          .allocate_host = allocate,
          .release_host = release,
          .upload_later = [](const void* host, void* device, size_t bytes, void*) -> Status {
            pending().push_back({host, device, bytes});
            return ok_status();
          },
          .synchronize = carry_out};
}

TEST(WeightStore, WhatWasWrittenArrivesWholeAndAligned) {
  const CudaDevice device = late_device();
  WeightStore store(device);
  // Pieces beyond one stage, items of odd sizes, and one larger than a piece.
  const std::pair<int64_t, size_t> shapes[] = {{3, 1}, {12345, 1000}, {2, size_t{20} << 20}, {0, 4}, {70, 7}};
  std::vector<const unsigned char*> stored;
  for (const auto& [count, item_bytes] : shapes) {
    int64_t next = 0;
    const auto write = [&, bytes = item_bytes](int64_t begin, int64_t end, std::byte* to) {
      EXPECT_EQ(begin, next);
      next = end;
      for (int64_t i = begin; i < end; ++i, to += bytes) std::memset(to, static_cast<int>(i % 251), bytes);
    };
    const Result<void*> memory = store.store(count, item_bytes, write);
    ASSERT_TRUE(memory.ok());
    EXPECT_EQ(next, count);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.value()) % 256, 0u);
    stored.push_back(static_cast<const unsigned char*>(memory.value()));
  }
  ASSERT_TRUE(carry_out(nullptr).ok());
  for (size_t s = 0; s < stored.size(); ++s) {
    const auto [count, item_bytes] = shapes[s];
    for (int64_t i = 0; i < count; ++i) {
      const unsigned char* item = stored[s] + static_cast<size_t>(i) * item_bytes;
      ASSERT_EQ(item[0], i % 251) << s << " " << i;
      ASSERT_EQ(item[item_bytes - 1], i % 251) << s << " " << i;
    }
  }
}

TEST(WeightStore, BytesOfTheHostAreCopied) {
  const CudaDevice device = late_device();
  WeightStore store(device);
  std::vector<int> values(3000000);
  std::iota(values.begin(), values.end(), 5);
  const Result<void*> memory = store.store(values.data(), values.size() * sizeof(int));
  ASSERT_TRUE(memory.ok());
  const std::vector<int> wanted = std::exchange(values, {});
  ASSERT_TRUE(carry_out(nullptr).ok());
  EXPECT_EQ(std::memcmp(memory.value(), wanted.data(), wanted.size() * sizeof(int)), 0);
}

// Matrices of experts, of which no whole number fills a block, and larger and smaller weights between them.
TEST(WeightStore, LittleIsLeftOfBlocks) {
  constexpr size_t kMegabyte = size_t{1} << 20;
  static size_t allocated;
  allocated = 0;
  CudaDevice device = late_device();
  device.allocate = [](size_t bytes) -> Result<void*> {  // nothing is written there
    allocated += bytes;
    return reinterpret_cast<void*>(uintptr_t{1} << 40 | (allocated - bytes));
  };
  device.release = [](void*, size_t) {};
  device.upload_later = [](const void*, void*, size_t, void*) { return ok_status(); };
  WeightStore store(device);
  size_t stored = 0;
  const auto add = [&](size_t bytes) {
    ASSERT_TRUE(store.store(1, bytes, [](int64_t, int64_t, std::byte*) {}).ok());
    stored += bytes;
  };
  for (int layer = 0; layer < 8; ++layer) {
    for (size_t bytes : {size_t{5000}, 42 * kMegabyte, kMegabyte}) add(bytes);
    for (int expert = 0; expert < 20; ++expert)
      for (size_t megabytes : {12, 6}) add(megabytes * kMegabyte);
  }
  EXPECT_LT(allocated, stored + 256 * kMegabyte);  // what is left of the last one
}

TEST(WeightStore, TooLittleMemoryIsReported) {
  CudaDevice device = late_device();
  device.allocate = [](size_t) -> Result<void*> { return resource_exhausted("full"); };
  WeightStore store(device);
  EXPECT_EQ(store.store("x", 1).status().code(), ErrorCode::kResourceExhausted);
}

}  // namespace
}  // namespace fathom
