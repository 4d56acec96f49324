#include "constrain/stack_pool.h"

#include <algorithm>

#include "base/random.h"

namespace fathom {
namespace {

size_t hash(uint32_t below, uint32_t item) { return mix_bits((uint64_t{below} << 32) | item); }

}  // namespace

uint32_t StackPool::push(uint32_t stack, uint32_t item) {
  if (2 * frames_.size() >= slots_.size()) grow();
  size_t slot = hash(stack, item) & (slots_.size() - 1);
  for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
    const Frame& frame = frames_[slots_[slot]];
    if (frame.below == stack && frame.item == item) return slots_[slot];
  }
  slots_[slot] = static_cast<uint32_t>(frames_.size());
  frames_.push_back({stack, item, frames_[stack].depth + 1});
  return slots_[slot];
}

void StackPool::grow() {
  slots_.assign(std::max<size_t>(32, 2 * slots_.size()), 0);
  for (size_t id = 1; id < frames_.size(); ++id) {
    size_t slot = hash(frames_[id].below, frames_[id].item) & (slots_.size() - 1);
    while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<uint32_t>(id);
  }
}

void StackPool::clear() {
  frames_.resize(1);
  slots_.clear();
}

void StackPool::keep_only(std::vector<uint32_t*>& stacks) {
  const std::vector<Frame> old = frames_;
  clear();
  std::vector<uint32_t> items;
  for (uint32_t* stack : stacks) {
    items.clear();
    for (uint32_t id = *stack; id != kEmpty; id = old[id].below) items.push_back(old[id].item);
    *stack = kEmpty;
    for (size_t i = items.size(); i-- > 0;) *stack = push(*stack, items[i]);
  }
}

}  // namespace fathom
