// A hash table from 64-bit keys to 32-bit numbers, for the many small look-ups of compiling and running an
// automaton. Nothing is ever taken out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace fathom {

// One thread.
class IdMap {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // kNone where the key is not there.
  uint32_t find(uint64_t key) const {
    if (slots_.empty()) return kNone;
    for (size_t i = mix_bits(key) & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].id == kNone || slots_[i].key == key) return slots_[i].id;
    }
  }

  // Precondition: the key is not there; id is not kNone.
  void add(uint64_t key, uint32_t id) {
    if (2 * ++size_ > slots_.size()) grow();
    put({key, id});
  }

  void clear() {
    slots_.clear();
    size_ = 0;
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t id = kNone;
  };

  void put(const Slot& slot) {
    size_t i = mix_bits(slot.key) & (slots_.size() - 1);
    while (slots_[i].id != kNone) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = slot;
  }
  void grow() {
    std::vector<Slot> old(std::max<size_t>(32, 2 * slots_.size()));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.id != kNone) put(slot);
    }
  }

  std::vector<Slot> slots_;  // power of two, at most half full
  size_t size_ = 0;
};

}  // namespace fathom
