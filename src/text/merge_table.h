// The merges of byte pair encoding: which pair of ids has which rank, and which id a rank makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fathom {

// Filled once, then read by any number of threads.
class MergeTable {
 public:
  explicit MergeTable(size_t num_merges);

  // The next merge in order of rank, from 0. false: the pair already has a rank, nothing is added.
  // Precondition: at most num_merges calls; ids are not negative.
  bool add(int32_t left, int32_t right, int32_t result);

  // The pair's rank, or -1.
  int32_t find(int32_t left, int32_t right) const;
  // The id that the merge of a rank makes.
  int32_t result(int32_t rank) const { return results_[static_cast<size_t>(rank)]; }

 private:
  struct Slot {
    uint64_t pair;  // left << 32 | right
    int32_t rank;   // -1: free
  };
  size_t slot_of(uint64_t pair) const;

  std::vector<Slot> slots_;  // open addressing, power of two, at most half full
  std::vector<int32_t> results_;
};

}  // namespace fathom
