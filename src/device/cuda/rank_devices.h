// How a group's ranks reach each other's device memory: by NCCL where every rank has a GPU of its own and the
// library, else through the host's memory. A pure function of what they have.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "parallel/communicator.h"

namespace fathom {

// What a rank says of itself to the others.
struct RankDevice {
  std::array<char, 16> uuid = {};
  int32_t nccl_version = 0;  // 0: it has none

  bool operator==(const RankDevice&) const = default;
};

struct RankDevices {
  int num_sharing = 1;      // ranks on this rank's device, this one among them
  bool has_nccl = false;    // the same on every rank
  std::string reason = {};  // why not
};

// devices: by rank.
RankDevices plan_rank_devices(std::span<const RankDevice> devices, const NodeLayout& layout);

}  // namespace fathom
