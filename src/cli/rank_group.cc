#include "cli/rank_group.h"

#include <algorithm>
#include <cstdlib>

#include "parallel/mpi_transport.h"

namespace fathom {

Status RankGroup::finish() {
  FATHOM_RETURN_IF_ERROR(communicator->finish());
  communicator.reset();
  if (transport) transport->close();
  return ok_status();
}

int num_launched_ranks() {
  const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
  return size == nullptr ? 1 : std::max(1, std::atoi(size));
}

Result<RankGroup> join_rank_group(const GroupOptions& options) {
  RankGroup group;
  if (num_launched_ranks() == 1) {
    group.communicator = make_solo_communicator();
    return group;
  }
  FATHOM_ASSIGN_OR_RETURN(group.transport, open_mpi_transport());
  FATHOM_ASSIGN_OR_RETURN(group.communicator, make_group_communicator(*group.transport, options));
  return group;
}

}  // namespace fathom
