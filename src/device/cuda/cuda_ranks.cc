// How the CUDA backend becomes one of several ranks.
#include "base/log.h"
#include "device/cuda/cuda_backend.h"
#include "device/cuda/rank_devices.h"

namespace fathom {
namespace {

int version_of(const Result<Nccl>& nccl) {
  int version = 0;
  return nccl.ok() && nccl->get_version(&version) == 0 ? version : 0;
}

void log_ways(const RankDevices& plan, const Result<Nccl>& nccl, int num_ranks) {
  if (plan.has_nccl) {
    log_info("CUDA: {} ranks reach each other by NCCL {}", num_ranks, version_of(nccl));
    return;
  }
  log_info("CUDA: {} ranks reach each other through the host's memory: {}{}", num_ranks, plan.reason,
           nccl.ok() ? "" : " (" + nccl.status().message() + ")");
}

}  // namespace

Result<DeviceCommunicator*> CudaBackend::connect(Communicator& communicator) {
  is_alone_ = false;
  const Result<Nccl> nccl = device_.open_nccl();
  const RankDevice own{.uuid = device_.facts.uuid, .nccl_version = version_of(nccl)};
  std::vector<RankDevice> devices(static_cast<size_t>(communicator.size()));
  FATHOM_RETURN_IF_ERROR(
      communicator.all_gather(std::as_bytes(std::span(&own, 1)), std::as_writable_bytes(std::span(devices))));
  const RankDevices plan = plan_rank_devices(devices, communicator.layout());
  if (communicator.rank() == 0) log_ways(plan, nccl, communicator.size());
  if (plan.has_nccl) {
    FATHOM_ASSIGN_OR_RETURN(nccl_, NcclCommunicator::create(communicator, device_, *nccl));
    return nccl_.get();
  }
  staged_ranks_ = std::make_unique<StagedCommunicator>(communicator, device_, plan.num_sharing);
  return staged_ranks_.get();
}

Status CudaBackend::wait() { return nccl_ != nullptr ? nccl_->wait() : device_.synchronize(device_.stream); }

}  // namespace fathom
