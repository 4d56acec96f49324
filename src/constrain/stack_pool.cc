#include "constrain/stack_pool.h"

namespace fathom {

uint32_t StackPool::push(uint32_t stack, uint32_t item) {
  const uint64_t key = (uint64_t{stack} << 32) | item;
  if (const uint32_t known = by_frame_.find(key); known != IdMap::kNone) return known;
  const auto id = static_cast<uint32_t>(frames_.size());
  frames_.push_back({stack, item, frames_[stack].depth + 1});
  by_frame_.add(key, id);
  return id;
}

void StackPool::clear() {
  frames_.resize(1);
  by_frame_.clear();
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
