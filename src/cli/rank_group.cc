#include "cli/rank_group.h"

#include <cstdlib>
#include <string_view>

#include "parallel/mpi_transport.h"

namespace fathom {

Status RankGroup::finish() {
  FATHOM_RETURN_IF_ERROR(communicator->finish());
  communicator.reset();
  if (transport) transport->close();
  return ok_status();
}

Result<RankGroup> join_rank_group(const GroupOptions& options) {
  RankGroup group;
  const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (size == nullptr || std::string_view(size) == "1") {
    group.communicator = make_solo_communicator();
    return group;
  }
  FATHOM_ASSIGN_OR_RETURN(group.transport, open_mpi_transport());
  FATHOM_ASSIGN_OR_RETURN(group.communicator, make_group_communicator(*group.transport, options));
  return group;
}

}  // namespace fathom
