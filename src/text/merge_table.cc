#include "text/merge_table.h"

#include <bit>

namespace fathom {
namespace {

uint64_t joined_pair(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(size_t num_merges) : slots_(std::bit_ceil(2 * num_merges + 2), Slot{0, -1}) {
  results_.reserve(num_merges);
}

// The slot that holds the pair, or the free one where it would go. The multiplier is 2^64 divided by the
// golden ratio; the high half of the product depends on all bits of the pair.
size_t MergeTable::slot_of(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = static_cast<size_t>((pair * 0x9E3779B97F4A7C15u) >> 32) & mask;
  while (slots_[slot].rank >= 0 && slots_[slot].pair != pair) slot = (slot + 1) & mask;
  return slot;
}

bool MergeTable::add(int32_t left, int32_t right, int32_t result) {
  const uint64_t pair = joined_pair(left, right);
  Slot& slot = slots_[slot_of(pair)];
  if (slot.rank >= 0) return false;
  slot = {pair, static_cast<int32_t>(results_.size())};
  results_.push_back(result);
  return true;
}

int32_t MergeTable::find(int32_t left, int32_t right) const {
  return slots_[slot_of(joined_pair(left, right))].rank;
}

}  // namespace fathom
