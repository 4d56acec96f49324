#include "device/cuda/nccl_communicator.h"

#include <algorithm>

#include "base/checked_math.h"

namespace fathom {
namespace {

// Up to here all ranks add everything: 256 KiB from each of 7 peers take 4 us at 450 GB/s, less than a second
// exchange. Reckoned, not measured.
constexpr int64_t kShortFloats = int64_t{64} << 10;
// Shares begin at lines of the device's cache.
constexpr int64_t kLineFloats = 128 / sizeof(float);

// What one of num_ranks ranks adds of a sum.
IndexRange share_of_sum(int64_t count, int rank, int num_ranks) {
  if (count <= kShortFloats) return {0, count};
  const int64_t lines = ceil_div(count, kLineFloats);
  return {std::min(count, lines * rank / num_ranks * kLineFloats),
          std::min(count, lines * (rank + 1) / num_ranks * kLineFloats)};
}

// What is the first to fail is reported, but a group that was begun is ended all the same.
Status first_failure(Status first, Status second) {
  return first.ok() ? std::move(second) : std::move(first);
}

}  // namespace

Result<std::unique_ptr<NcclCommunicator>> NcclCommunicator::create(Communicator& host,
                                                                   const CudaDevice& device,
                                                                   const Nccl& nccl) {
  std::unique_ptr<NcclCommunicator> made(new NcclCommunicator(host, device, nccl));
  FATHOM_RETURN_IF_ERROR(made->join());
  return made;
}

NcclCommunicator::~NcclCommunicator() {
  if (comm_ == nullptr) return;
  if (host().health().ok()) {
    nccl_.comm_destroy(comm_);
  } else {
    abort();  // to destroy it would wait for the lost rank
  }
}

// NCCL connects two ranks when they first exchange something: here, where it may take its time.
Status NcclCommunicator::join() {
  struct Invitation {
    NcclId id;
    int result = 0;
  } invitation;
  if (rank() == 0) invitation.result = nccl_.get_unique_id(&invitation.id);
  FATHOM_RETURN_IF_ERROR(host().broadcast(std::as_writable_bytes(std::span(&invitation, 1)), 0));
  FATHOM_RETURN_IF_ERROR(check(invitation.result, "ncclGetUniqueId"));
  std::vector<size_t> starts;
  for (int i = 0; i <= size(); ++i) starts.push_back(static_cast<size_t>(i) * sizeof(float));
  // First: an allocation makes the rank's device this thread's, which NCCL takes.
  FATHOM_RETURN_IF_ERROR(reserve(starts.back()));
  FATHOM_RETURN_IF_ERROR(
      check(nccl_.comm_init_rank(&comm_, size(), invitation.id, rank()), "ncclCommInitRank"));
  FATHOM_RETURN_IF_ERROR(all_gather_parts(arrived_.data(), starts));
  return wait();
}

Status NcclCommunicator::check(int result, const char* call) const {
  if (result == 0) return ok_status();
  return io_error("NCCL: {} failed: {}", call, nccl_.get_error_string(result));
}

Status NcclCommunicator::send(const void* data, size_t size, int peer) {
  if (size == 0) return ok_status();
  return check(nccl_.send(data, size, kNcclInt8, peer, comm_, device_.stream), "ncclSend");
}

Status NcclCommunicator::receive(void* data, size_t size, int peer) {
  if (size == 0) return ok_status();
  return check(nccl_.recv(data, size, kNcclInt8, peer, comm_, device_.stream), "ncclRecv");
}

Status NcclCommunicator::reserve(size_t bytes) {
  if (arrived_.bytes() >= bytes) return ok_status();
  FATHOM_RETURN_IF_ERROR(wait());
  arrived_ = DeviceBuffer();
  FATHOM_ASSIGN_OR_RETURN(void* data, device_.allocate(bytes));
  arrived_ = DeviceBuffer(data, bytes, device_.release);
  return ok_status();
}

Status NcclCommunicator::all_reduce_sum(float* values, int64_t count) {
  FATHOM_RETURN_IF_ERROR(host().health());
  const IndexRange own = share_of_sum(count, rank(), size());
  const int64_t stride = round_up(own.size(), kLineFloats);
  FATHOM_RETURN_IF_ERROR(reserve(static_cast<size_t>(size() * stride) * sizeof(float)));
  const auto bytes_of = [](const IndexRange& share) {
    return static_cast<size_t>(share.size()) * sizeof(float);
  };
  FATHOM_RETURN_IF_ERROR(check(nccl_.group_start(), "ncclGroupStart"));
  Status status;
  for (int peer = 0; peer < size() && status.ok(); ++peer) {
    if (peer == rank()) continue;
    const IndexRange theirs = share_of_sum(count, peer, size());
    status = send(values + theirs.begin, bytes_of(theirs), peer);
    if (status.ok()) status = receive(arrived_.floats() + peer * stride, bytes_of(own), peer);
  }
  FATHOM_RETURN_IF_ERROR(first_failure(status, check(nccl_.group_end(), "ncclGroupEnd")));
  const int error = device_.kernels.sum_ranks({.own = values + own.begin,
                                               .others = arrived_.floats(),
                                               .others_stride = stride,
                                               .own_rank = rank(),
                                               .num_ranks = size(),
                                               .sum = values + own.begin,
                                               .count = own.size()},
                                              device_.stream);
  if (error != 0) return io_error("the CUDA kernel sum_ranks failed with error {}", error);
  if (own.size() == count) return ok_status();
  std::vector<size_t> starts{0};
  for (int of_rank = 0; of_rank < size(); ++of_rank)
    starts.push_back(static_cast<size_t>(share_of_sum(count, of_rank, size()).end) * sizeof(float));
  return all_gather_parts(values, starts);
}

Status NcclCommunicator::all_gather_parts(void* all, std::span<const size_t> starts) {
  FATHOM_RETURN_IF_ERROR(host().health());
  const auto first = [&](int of_rank) {
    return static_cast<std::byte*>(all) + starts[static_cast<size_t>(of_rank)];
  };
  const auto size_of = [&](int of_rank) { return static_cast<size_t>(first(of_rank + 1) - first(of_rank)); };
  FATHOM_RETURN_IF_ERROR(check(nccl_.group_start(), "ncclGroupStart"));
  Status status;
  for (int peer = 0; peer < size() && status.ok(); ++peer) {
    if (peer == rank()) continue;
    status = send(first(rank()), size_of(rank()), peer);
    if (status.ok()) status = receive(first(peer), size_of(peer), peer);
  }
  return first_failure(status, check(nccl_.group_end(), "ncclGroupEnd"));
}

Status NcclCommunicator::wait() {
  while (true) {
    FATHOM_ASSIGN_OR_RETURN(const bool idle, device_.is_idle(device_.stream));
    if (idle) return host().health();  // a comm that was aborted is idle too
    Status status = host().health();
    int error = 0;
    if (status.ok()) status = check(nccl_.comm_get_async_error(comm_, &error), "ncclCommGetAsyncError");
    if (status.ok() && error != kNcclInProgress) status = check(error, "an exchange");
    if (status.ok()) continue;
    abort();
    return status;
  }
}

void NcclCommunicator::abort() {
  if (comm_ != nullptr) nccl_.comm_abort(comm_);
  comm_ = nullptr;
}

}  // namespace fathom
