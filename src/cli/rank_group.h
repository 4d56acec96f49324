// The ranks that this process is one of: those that `fathom launch` (or mpirun) started, else itself alone.
#pragma once

#include <memory>

#include "base/status.h"
#include "parallel/communicator.h"
#include "parallel/group_communicator.h"
#include "parallel/transport.h"

namespace fathom {

struct RankGroup {
  std::unique_ptr<Transport> transport;  // null: alone
  std::unique_ptr<Communicator> communicator;

  // The good end, all ranks together.
  Status finish();
};

// How many ranks mpirun started; 1: it did not start this process.
int num_launched_ranks();

// Once in a process, before it starts threads.
Result<RankGroup> join_rank_group(const GroupOptions& options = {});

}  // namespace fathom
