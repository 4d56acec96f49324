#include "device/cuda/rank_devices.h"

#include "base/check.h"

namespace fathom {
namespace {

// "": nothing is in the way.
std::string obstacle(std::span<const RankDevice> devices, const NodeLayout& layout) {
  for (size_t i = 0; i < devices.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (devices[i].uuid == devices[j].uuid && layout.node_of[i] == layout.node_of[j])
        return fmt::format("ranks {} and {} share a GPU", j, i);
    }
  }
  for (size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].nccl_version == 0) return fmt::format("rank {} has no NCCL", i);
    if (devices[i].nccl_version != devices[0].nccl_version)
      return fmt::format("ranks 0 and {} have different versions of NCCL", i);
  }
  return "";
}

}  // namespace

RankDevices plan_rank_devices(std::span<const RankDevice> devices, const NodeLayout& layout) {
  FATHOM_CHECK(std::ssize(devices) == layout.size(), "{} devices of {} ranks", devices.size(), layout.size());
  RankDevices plan{.num_sharing = 0};
  const auto own = static_cast<size_t>(layout.rank);
  for (size_t i = 0; i < devices.size(); ++i)
    plan.num_sharing += devices[i].uuid == devices[own].uuid && layout.node_of[i] == layout.node_of[own];
  plan.reason = obstacle(devices, layout);
  plan.has_nccl = plan.reason.empty();
  return plan;
}

}  // namespace fathom
