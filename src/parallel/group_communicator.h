// The communicator of several ranks over a transport: inside a node through the shared window, between nodes
// by messages of the nodes' leaders.
#pragma once

#include <chrono>
#include <memory>

#include "parallel/communicator.h"
#include "parallel/transport.h"

namespace fathom {

// So many ranks at most: the tree's partial sums lie on the stack.
inline constexpr int kMaxRanks = 64;

struct GroupOptions {
  // A rank that gives no sign of life for so long is lost, at least 10 ms.
  std::chrono::milliseconds silence_limit{15'000};
};

// All ranks of the transport call it together. The transport outlives the communicator.
// Failure: more than kMaxRanks, no memory to share, or a rank lost already.
Result<std::unique_ptr<Communicator>> make_group_communicator(Transport& transport,
                                                              const GroupOptions& options = {});

}  // namespace fathom
