// Who adds what when ranks lie on several nodes: each node adds its pieces of the tree, the leaders exchange
// them, and each leader adds all pieces. One plan per rank, from its view of the layout.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/sum_tree.h"

namespace fathom {

struct ReductionPlan {
  explicit ReductionPlan(const NodeLayout& layout);

  struct LocalSum {
    SumTree tree;
    std::vector<int> inputs;  // positions in this node's list of ranks, in the tree's order
  };
  std::vector<LocalSum> local;  // this node's pieces

  // All pieces lie node by node: those of node n at [first_of_node[n], first_of_node[n + 1]).
  std::vector<size_t> first_of_node;
  SumTree top;                 // over all pieces
  std::vector<size_t> places;  // of the pieces, in the tree's order

  size_t num_pieces() const { return first_of_node.back(); }
};

}  // namespace fathom
