// The emulated device: copies and launches take place at once, but for those of a graph, which are kept.
#include <cstdlib>
#include <cstring>
#include <memory>

#include "device/cuda/emulated_device.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"

namespace fathom {
namespace {

namespace emulated = kernels::cuda_emulated;

Result<void*> allocate(size_t bytes) {
  void* data = std::malloc(bytes);
  if (data == nullptr) return resource_exhausted("cannot allocate {} bytes", bytes);
  return std::memset(data, 0xff, bytes);
}

void release(void* data, size_t) { std::free(data); }

Status copy(const void* from, void* to, size_t bytes, void*) {
  FATHOM_CHECK(emulated::launch_recorder() == nullptr, "a copy of {} bytes in a graph's capture", bytes);
  std::memcpy(to, from, bytes);
  return ok_status();
}

Status synchronize(void*) {
  FATHOM_CHECK(emulated::launch_recorder() == nullptr, "a wait in a graph's capture");
  return ok_status();
}

Status begin_capture(void*) {
  FATHOM_CHECK(emulated::launch_recorder() == nullptr, "a capture in a capture");
  emulated::set_launch_recorder(std::make_unique<emulated::RecordedLaunches>().release());
  return ok_status();
}

Result<void*> end_capture(void*) {
  void* launches = emulated::launch_recorder();
  FATHOM_CHECK(launches != nullptr, "the end of no capture");
  emulated::set_launch_recorder(nullptr);
  return launches;
}

Status launch_graph(void* graph, void*) {
  for (const auto& launch : *static_cast<const emulated::RecordedLaunches*>(graph)) launch();
  return ok_status();
}

void release_graph(void* graph) { delete static_cast<emulated::RecordedLaunches*>(graph); }

}  // namespace

CudaDevice emulated_device() {
  return {.facts = {.name = "emulated device",
                    .compute_capability = 80,
                    .num_multiprocessors = 4,
                    .free_bytes = uint64_t{4} << 30,
                    .total_bytes = uint64_t{4} << 30},
          .allocate = allocate,
          .release = release,
          .allocate_host = allocate,
          .release_host = release,
          .upload = copy,
          .upload_later = copy,
          .download = copy,
          .copy = copy,
          .synchronize = synchronize,
          .graphs = {begin_capture, end_capture, launch_graph, release_graph},
          .kernels = {.prepare = emulated::prepare,
                      .linear = emulated::linear,
                      .rope_query = emulated::rope_query,
                      .store_latent = emulated::store_latent,
                      .absorbed_attention = emulated::absorbed_attention,
                      .merge_splits = emulated::merge_splits,
                      .router = emulated::router,
                      .plan_experts = emulated::plan_experts,
                      .combine_experts = emulated::combine_experts,
                      .embed = emulated::embed,
                      .gather_rows = emulated::gather_rows,
                      .clear_or_add = emulated::clear_or_add}};
}

Result<CudaDevice> open_cuda_device(int ordinal) {
  if (ordinal != 0) return unsupported("--device cuda: device {} is wanted, there is one", ordinal);
  return emulated_device();
}

int count_cuda_devices() { return 1; }

}  // namespace fathom
