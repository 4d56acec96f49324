// The one order in which ranks' values are added. sum[begin, end) over two ranks or more is
//   sum[begin, middle) + sum[middle, end),  middle = begin + the largest power of two below end - begin,
// so that 2, 4, 8 and 16 ranks have balanced trees, and the tree of 8 ranks is half that of 16.
//
// A node can add by itself what lies below a branch whose ranks are all its own: a piece. Cut into pieces in
// this way the tree is still the same tree, so that where ranks run changes no bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/communicator.h"

namespace fathom {

// Ranks [begin, end) below one branch of the tree.
struct TreeBranch {
  int begin = 0;
  int end = 0;
  bool operator==(const TreeBranch&) const = default;
};

// The largest branches whose ranks all lie in one node, for all nodes, in rank order.
std::vector<TreeBranch> tree_pieces(const NodeLayout& layout);

// Adds the leaves of a branch. Immutable: any thread.
class SumTree {
 public:
  // leaves: branches in rank order that together are the branch they span, each a branch of its tree.
  explicit SumTree(std::span<const TreeBranch> leaves);

  int num_leaves() const { return num_leaves_; }
  // out[i] = the sum of the leaves' [i], for i in [0, count). leaves holds num_leaves() arrays of count
  // floats; out may be none of them.
  void sum(std::span<const float* const> leaves, int64_t count, float* out) const;

 private:
  struct Add {
    int left;   // index of a leaf, or num_leaves + index of an earlier Add
    int right;  // likewise
  };
  int build(std::span<const TreeBranch> leaves, int begin, int end);

  int num_leaves_;
  std::vector<Add> adds_;  // the last one is the sum
};

}  // namespace fathom
