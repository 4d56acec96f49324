#include "device/weight_arena.h"

#include <sys/mman.h>

#include <algorithm>

namespace fathom {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// What is left of a block when the next weight does not fit is lost: blocks are large beside an expert.
constexpr size_t kBlockBytes = size_t{256} << 20;
constexpr size_t kAlignment = 64;

size_t up_to_multiple(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

WeightArena::~WeightArena() {
  for (const Block& block : blocks_) ::munmap(block.data, block.bytes);
}

Result<std::byte*> WeightArena::allocate(int node, size_t bytes) {
  Node& own = nodes_[static_cast<size_t>(node)];
  const size_t wanted = up_to_multiple(std::max<size_t>(bytes, 1), kAlignment);
  if (wanted > own.left) {
    const size_t usable = up_to_multiple(std::max(wanted, kBlockBytes), kHugePage);
    const size_t mapped = usable + kHugePage;  // to begin at a huge page
    void* memory =
        ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return resource_exhausted("cannot allocate {} bytes for weights", mapped);
    blocks_.push_back({static_cast<std::byte*>(memory), mapped});
    own.next = reinterpret_cast<std::byte*>(up_to_multiple(reinterpret_cast<size_t>(memory), kHugePage));
    own.left = usable;
    ::madvise(own.next, usable, MADV_HUGEPAGE);  // only speed is lost where it is refused
  }
  std::byte* const result = own.next;
  own.next += wanted;
  own.left -= wanted;
  return result;
}

}  // namespace fathom
