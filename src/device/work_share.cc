#include "device/work_share.h"

#include <algorithm>

#include "base/checked_math.h"

namespace fathom {
namespace {

// Tokens below which a cut by tokens would only read the same weights more often.
constexpr int64_t kTokenStep = 24;

}  // namespace

std::vector<NodeSeat> node_seats(const ThreadTeam& team) {
  std::vector<int> threads_of_node(static_cast<size_t>(team.num_nodes()));
  std::vector<NodeSeat> seats;
  for (int thread = 0; thread < team.size(); ++thread) {
    const int node = team.node_of(thread);
    seats.push_back({.node = node, .index = threads_of_node[static_cast<size_t>(node)]++});
  }
  for (NodeSeat& seat : seats) seat.num_threads = threads_of_node[static_cast<size_t>(seat.node)];
  return seats;
}

IndexRange node_panels(int64_t num_panels, int64_t step, int node, int num_nodes) {
  return static_share(num_panels, step, node, num_nodes);
}

ProductShare product_share(IndexRange node_panels, int64_t step, int64_t num_tokens, const NodeSeat& seat) {
  if (num_tokens <= 0) return {};
  const int64_t threads = seat.num_threads;
  const int64_t steps = ceil_div(node_panels.size(), step);
  const int64_t token_steps = ceil_div(num_tokens, kTokenStep);
  // The cut into panel groups times token groups that leaves the busiest thread least to do; of equal ones
  // the one that reads the weights least often.
  int64_t best_groups = 1;
  int64_t best_cost = -1;
  for (int64_t groups = std::min(threads, std::max<int64_t>(steps, 1)); groups >= 1; --groups) {
    const int64_t token_groups = std::min(threads / groups, token_steps);
    const int64_t cost = ceil_div(steps, groups) * ceil_div(token_steps, token_groups);
    if (best_cost < 0 || cost < best_cost) {
      best_cost = cost;
      best_groups = groups;
    }
  }
  const int64_t token_groups = std::min(threads / best_groups, token_steps);
  if (seat.index >= best_groups * token_groups) return {};
  const IndexRange panels = static_share(node_panels.size(), step, static_cast<int>(seat.index % best_groups),
                                         static_cast<int>(best_groups));
  return {.panels = {node_panels.begin + panels.begin, node_panels.begin + panels.end},
          .tokens = static_share(num_tokens, kTokenStep, static_cast<int>(seat.index / best_groups),
                                 static_cast<int>(token_groups))};
}

bool has_panels_to_claim(int64_t num_panels, const NodeSeat& seat) {
  constexpr int64_t kPanelsPerThread = 16;
  return num_panels >= kPanelsPerThread * seat.num_threads;
}

}  // namespace fathom
