#include "parallel/reduction_plan.h"

#include <algorithm>

namespace fathom {
namespace {

ReductionPlan::LocalSum make_local_sum(const TreeBranch& piece, const std::vector<int>& ranks) {
  std::vector<TreeBranch> leaves;
  std::vector<int> inputs;
  for (int rank = piece.begin; rank < piece.end; ++rank) {
    leaves.push_back({rank, rank + 1});
    inputs.push_back(static_cast<int>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin()));
  }
  return {SumTree(leaves), std::move(inputs)};
}

}  // namespace

ReductionPlan::ReductionPlan(const NodeLayout& layout) : top(tree_pieces(layout)) {
  const std::vector<TreeBranch> pieces = tree_pieces(layout);
  places.resize(pieces.size());
  size_t place = 0;
  for (int node = 0; node < layout.num_nodes(); ++node) {
    first_of_node.push_back(place);
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (layout.node_of[static_cast<size_t>(pieces[i].begin)] != node) continue;
      places[i] = place++;
      if (node == layout.node()) local.push_back(make_local_sum(pieces[i], layout.ranks_of(node)));
    }
  }
  first_of_node.push_back(place);
}

}  // namespace fathom
