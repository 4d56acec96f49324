// What the leaders of the nodes tell each other. Called on leaders only.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "parallel/node_window.h"
#include "parallel/transport.h"

namespace fathom {

enum class ExchangeResult { kDone, kLost };

// Thread rule: one thread at a time. A broken connection counts as silence: the wait goes on until the loss
// of a rank is known.
class LeaderExchange {
 public:
  LeaderExchange(const NodeWindow& window, Transport& transport);

  // area[offsets[n], offsets[n + 1]) is the part of node n: this node's goes to all others, theirs come in.
  ExchangeResult all_to_all(std::byte* area, std::span<const size_t> offsets);
  // bytes of root_node's leader to the other leaders.
  ExchangeResult spread(std::span<std::byte> bytes, int root_node);

 private:
  ExchangeResult wait();

  const NodeWindow& window_;
  Transport& transport_;
  int node_;
  std::vector<int> leaders_;  // by node
  std::vector<std::unique_ptr<Transfer>> transfers_;
};

}  // namespace fathom
