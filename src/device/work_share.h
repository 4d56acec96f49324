// How a matrix product is shared out over a team: by panels of outputs inside each NUMA node's part of the
// matrix and, where a node has more threads than panels, by tokens too. What a thread gets never changes a
// result: every output is summed by one thread in one order.
#pragma once

#include <algorithm>
#include <vector>

#include "base/thread_team.h"
#include "device/weights.h"

namespace fathom {

// A thread's place among those of its node.
struct NodeSeat {
  int node = 0;
  int index = 0;
  int num_threads = 1;  // of the node
};

// By thread.
std::vector<NodeSeat> node_seats(const ThreadTeam& team);

// Part `node` of num_nodes of a matrix's panels. step is 2 for panel pairs.
IndexRange node_panels(int64_t num_panels, int64_t step, int node, int num_nodes);

struct ProductShare {
  IndexRange panels;
  IndexRange tokens;

  bool empty() const { return panels.size() <= 0 || tokens.size() <= 0; }
};

// The share of one thread in the product of num_tokens rows with these panels of its node.
ProductShare product_share(IndexRange node_panels, int64_t step, int64_t num_tokens, const NodeSeat& seat);

// Whether a node's threads have panels enough to claim them (device/claim_board.h) rather than share out
// tokens.
bool has_panels_to_claim(int64_t num_panels, const NodeSeat& seat);

// One of several products that are shared out together, as one line of work: `units` steps of panels, each
// of cost `unit_cost`.
struct WorkItem {
  int64_t units = 0;
  int64_t unit_cost = 1;
};

// The cost of the line of work that item_of(source) of each source describes.
template <typename Sources, typename ItemOf>
int64_t cost_of_line(const Sources& sources, const ItemOf& item_of) {
  int64_t total = 0;
  for (const auto& source : sources) {
    const WorkItem item = item_of(source);
    total += item.units * item.unit_cost;
  }
  return total;
}

// Calls function(source index, first unit, end unit) for the units that begin in the stretch [begin, end) of
// the line's cost. Stretches that cover the line cover every unit once.
template <typename Sources, typename ItemOf, typename Function>
void for_stretch_of_line(const Sources& sources, const ItemOf& item_of, int64_t begin, int64_t end,
                         const Function& function) {
  int64_t before = 0;
  for (size_t i = 0; i < sources.size() && before < end; ++i) {
    const WorkItem item = item_of(sources[i]);
    const auto first_at = [&](int64_t place) {
      if (place <= before) return int64_t{0};
      return std::min(item.units, (place - before + item.unit_cost - 1) / item.unit_cost);
    };
    const int64_t first = first_at(begin);
    const int64_t last = first_at(end);
    if (first < last) function(i, first, last);
    before += item.units * item.unit_cost;
  }
}

// The stretch of thread index of num_threads, all of equal cost.
template <typename Sources, typename ItemOf, typename Function>
void for_share_of_line(const Sources& sources, const ItemOf& item_of, int64_t index, int64_t num_threads,
                       const Function& function) {
  const int64_t total = cost_of_line(sources, item_of);
  for_stretch_of_line(sources, item_of, total * index / num_threads, total * (index + 1) / num_threads,
                      function);
}

}  // namespace fathom
