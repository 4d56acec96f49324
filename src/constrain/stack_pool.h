// Stacks of open calls that share their lower parts, each known by a number: equal stacks, equal numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "constrain/id_map.h"

namespace fathom {

// One thread. A copy costs some bytes per stack ever pushed.
class StackPool {
 public:
  static constexpr uint32_t kEmpty = 0;

  StackPool() : frames_(1) {}

  uint32_t push(uint32_t stack, uint32_t item);
  // Precondition for both: stack is not kEmpty.
  uint32_t top(uint32_t stack) const { return frames_[stack].item; }
  uint32_t pop(uint32_t stack) const { return frames_[stack].below; }
  uint32_t depth(uint32_t stack) const { return frames_[stack].depth; }

  size_t size() const { return frames_.size(); }
  void clear();
  // Forgets all stacks but these and what they stand on, and gives them their new numbers.
  void keep_only(std::vector<uint32_t*>& stacks);

 private:
  struct Frame {
    uint32_t below = 0;
    uint32_t item = 0;
    uint32_t depth = 0;
  };

  std::vector<Frame> frames_;
  IdMap by_frame_;  // below << 32 | item
};

}  // namespace fathom
