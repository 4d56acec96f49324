// The host's memory and the emulated kernels as a device, for tests: needs the library fathom_cuda_emulated.
#pragma once

#include <cstdlib>
#include <cstring>

#include "device/cuda/cuda_device.h"
#include "kernels/cuda/kernels.h"

namespace fathom {

// Memory is filled with 0xff, NaN in every float type.
inline CudaDevice emulated_device() {
  namespace emulated = kernels::cuda_emulated;
  return {.allocate = [](size_t bytes) -> Result<void*> {
            void* data = std::malloc(bytes);
            if (data == nullptr) return resource_exhausted("cannot allocate {} bytes", bytes);
            return std::memset(data, 0xff, bytes);
          },
          .release = [](void* data, size_t) { std::free(data); },
          .upload = [](const void* host, void* device, size_t bytes, void*) -> Status {
            std::memcpy(device, host, bytes);
            return ok_status();
          },
          .download = [](const void* device, void* host, size_t bytes, void*) -> Status {
            std::memcpy(host, device, bytes);
            return ok_status();
          },
          .copy = [](const void* from, void* to, size_t bytes, void*) -> Status {
            std::memcpy(to, from, bytes);
            return ok_status();
          },
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

}  // namespace fathom
