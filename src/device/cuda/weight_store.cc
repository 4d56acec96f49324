#include "device/cuda/weight_store.h"

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"

namespace fathom {
namespace {

constexpr int64_t kWeightAlignment = 256;
// The first block is small, for small models; later ones double.
constexpr size_t kFirstBlockBytes = size_t{1} << 20;
constexpr size_t kLargestBlockBytes = size_t{256} << 20;
constexpr size_t kPieceBytes = size_t{4} << 20;
constexpr size_t kStageBytes = 4 * kPieceBytes;

size_t aligned(size_t bytes) {
  return static_cast<size_t>(round_up(static_cast<int64_t>(bytes), kWeightAlignment));
}

}  // namespace

Result<std::byte*> WeightStore::place(size_t bytes) {
  const auto has_room = [bytes](const Block& block) { return block.used + bytes <= block.memory.bytes(); };
  auto block = std::find_if(blocks_.begin(), blocks_.end(), has_room);
  if (block == blocks_.end()) {
    const size_t next =
        blocks_.empty() ? kFirstBlockBytes : std::min(2 * blocks_.back().memory.bytes(), kLargestBlockBytes);
    const size_t wanted = std::max(next, aligned(bytes));
    FATHOM_ASSIGN_OR_RETURN(void* data, device_.allocate(wanted));
    block = blocks_.insert(blocks_.end(), {DeviceBuffer(data, wanted, device_.release)});
  }
  std::byte* data = static_cast<std::byte*>(block->memory.data()) + block->used;
  block->used += aligned(bytes);
  return data;
}

// Room for so many bytes of pinned memory that no copy reads any more.
Result<std::byte*> WeightStore::stage(size_t bytes) {
  if (staged_ + bytes > stages_[stage_].bytes()) {
    if (stages_[stage_].data() != nullptr) stage_ = (stage_ + 1) % kNumStages;
    FATHOM_RETURN_IF_ERROR(device_.synchronize(device_.stream));
    staged_ = 0;
    if (stages_[stage_].bytes() < bytes) {
      const size_t wanted = std::max(kStageBytes, bytes);
      FATHOM_ASSIGN_OR_RETURN(void* data, device_.allocate_host(wanted));
      stages_[stage_] = DeviceBuffer(data, wanted, device_.release_host);
    }
  }
  std::byte* data = static_cast<std::byte*>(stages_[stage_].data()) + staged_;
  staged_ += bytes;
  return data;
}

Result<void*> WeightStore::store(int64_t count, size_t item_bytes, Write write) {
  FATHOM_ASSIGN_OR_RETURN(std::byte* const memory,
                          place(std::max<size_t>(static_cast<size_t>(count) * item_bytes, 1)));
  const auto piece = static_cast<int64_t>(std::max<size_t>(kPieceBytes / std::max<size_t>(item_bytes, 1), 1));
  for (int64_t begin = 0; begin < count; begin += piece) {
    const int64_t end = std::min(count, begin + piece);
    const size_t bytes = static_cast<size_t>(end - begin) * item_bytes;
    FATHOM_ASSIGN_OR_RETURN(std::byte* const to, stage(aligned(bytes)));
    write(begin, end, to);
    FATHOM_RETURN_IF_ERROR(
        device_.upload_later(to, memory + static_cast<size_t>(begin) * item_bytes, bytes, device_.stream));
  }
  return static_cast<void*>(memory);
}

Result<void*> WeightStore::store(const void* host, size_t bytes) {
  const auto* data = static_cast<const std::byte*>(host);
  return store(static_cast<int64_t>(bytes), 1, [data](int64_t begin, int64_t end, std::byte* to) {
    std::memcpy(to, data + begin, static_cast<size_t>(end - begin));
  });
}

}  // namespace fathom
