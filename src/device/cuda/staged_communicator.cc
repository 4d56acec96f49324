#include "device/cuda/staged_communicator.h"

namespace fathom {

Result<std::byte*> StagedCommunicator::reserve(size_t bytes) {
  if (room_.bytes() < bytes) FATHOM_RETURN_IF_ERROR(device_.synchronize(device_.stream));
  return room_.reserve(bytes);
}

// What is uploaded later is not written again before the next download, which the stream puts after it.
Status StagedCommunicator::all_reduce_sum(float* values, int64_t count) {
  const auto size = static_cast<size_t>(count);
  FATHOM_ASSIGN_OR_RETURN(std::byte* const room, reserve(size * sizeof(float)));
  auto* staged = reinterpret_cast<float*>(room);
  FATHOM_RETURN_IF_ERROR(device_.download_later(values, staged, size * sizeof(float), device_.stream));
  FATHOM_RETURN_IF_ERROR(device_.synchronize(device_.stream));
  FATHOM_RETURN_IF_ERROR(host().all_reduce_sum({staged, size}));
  return device_.upload_later(staged, values, size * sizeof(float), device_.stream);
}

Status StagedCommunicator::all_gather_parts(void* all, std::span<const size_t> starts) {
  auto* device = static_cast<std::byte*>(all);
  const size_t size = starts.back();
  FATHOM_ASSIGN_OR_RETURN(std::byte* const staged, reserve(size));
  const size_t begin = starts[static_cast<size_t>(rank())], end = starts[static_cast<size_t>(rank()) + 1];
  FATHOM_RETURN_IF_ERROR(device_.download_later(device + begin, staged + begin, end - begin, device_.stream));
  FATHOM_RETURN_IF_ERROR(device_.synchronize(device_.stream));
  FATHOM_RETURN_IF_ERROR(host().all_gather_parts({staged, size}, starts));
  FATHOM_RETURN_IF_ERROR(device_.upload_later(staged, device, begin, device_.stream));
  return device_.upload_later(staged + end, device + end, size - end, device_.stream);
}

}  // namespace fathom
