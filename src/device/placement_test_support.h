// Placements that a backend's results must not depend on.
#pragma once

#include <initializer_list>
#include <vector>

#include "base/topology.h"

namespace fathom::testing {

// So many threads on one node each, and 3 threads on two.
inline std::vector<Placement> placements(std::initializer_list<int> thread_counts) {
  std::vector<Placement> all;
  for (int threads : thread_counts) all.push_back(floating_placement(threads));
  Placement two_nodes = floating_placement(3);
  two_nodes.num_nodes = 2;
  two_nodes.threads[2].node = 1;
  all.push_back(two_nodes);
  return all;
}

}  // namespace fathom::testing
