// CudaDevice over the CUDA runtime. The runtime is linked statically and looks for the driver when it is
// first used, so that the program also runs where there is none.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "device/cuda/cuda_device.h"
#include "kernels/cuda/kernels.h"

namespace fathom {
namespace {

namespace entries = kernels::cuda_device;

// The process's device. The runtime keeps the current one by thread, and any thread may call the backend.
std::atomic<int> chosen_device{0};

Status check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return ok_status();
  return io_error("CUDA: {} failed: {}", what, cudaGetErrorString(error));
}

cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }

Result<void*> allocate(size_t bytes) {
  FATHOM_RETURN_IF_ERROR(check(cudaSetDevice(chosen_device), "choosing the device"));
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the next launch would report it again
    size_t free_bytes = 0, total = 0;
    cudaMemGetInfo(&free_bytes, &total);
    return resource_exhausted("cannot allocate {} bytes of device memory, {} of {} are free", bytes,
                              free_bytes, total);
  }
  FATHOM_RETURN_IF_ERROR(check(error, "cudaMalloc"));
  return data;
}

void release(void* data, size_t) { cudaFree(data); }

Result<void*> allocate_host(size_t bytes) {
  FATHOM_RETURN_IF_ERROR(check(cudaSetDevice(chosen_device), "choosing the device"));
  void* data = nullptr;
  const cudaError_t error = cudaHostAlloc(&data, bytes, cudaHostAllocDefault);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return resource_exhausted("cannot pin {} bytes of host memory", bytes);
  }
  FATHOM_RETURN_IF_ERROR(check(error, "cudaHostAlloc"));
  return data;
}

void release_host(void* data, size_t) { cudaFreeHost(data); }

Status synchronize(void* stream) {
  return check(cudaStreamSynchronize(stream_of(stream)), "an operation on the device");
}

Result<bool> is_idle(void* stream) {
  const cudaError_t error = cudaStreamQuery(stream_of(stream));
  if (error == cudaErrorNotReady) {
    cudaGetLastError();  // else the next launch would report it
    return false;
  }
  FATHOM_RETURN_IF_ERROR(check(error, "an operation on the device"));
  return true;
}

Status copy_later(const void* from, void* to, size_t bytes, cudaMemcpyKind kind, void* stream) {
  FATHOM_RETURN_IF_ERROR(check(cudaSetDevice(chosen_device), "choosing the device"));
  return check(cudaMemcpyAsync(to, from, bytes, kind, stream_of(stream)), "a copy");
}

Status upload_later(const void* host, void* device, size_t bytes, void* stream) {
  return copy_later(host, device, bytes, cudaMemcpyHostToDevice, stream);
}

Status upload(const void* host, void* device, size_t bytes, void* stream) {
  FATHOM_RETURN_IF_ERROR(upload_later(host, device, bytes, stream));
  return synchronize(stream);
}

Status download_later(const void* device, void* host, size_t bytes, void* stream) {
  return copy_later(device, host, bytes, cudaMemcpyDeviceToHost, stream);
}

Status copy(const void* from, void* to, size_t bytes, void* stream) {
  return copy_later(from, to, bytes, cudaMemcpyDeviceToDevice, stream);
}

Status begin_capture(void* stream) {
  return check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal),
               "cudaStreamBeginCapture");
}

Result<void*> end_capture(void* stream) {
  cudaGraph_t graph = nullptr;
  FATHOM_RETURN_IF_ERROR(check(cudaStreamEndCapture(stream_of(stream), &graph), "cudaStreamEndCapture"));
  cudaGraphExec_t executable = nullptr;
  const Status status = check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  cudaGraphDestroy(graph);
  FATHOM_RETURN_IF_ERROR(status);
  return static_cast<void*>(executable);
}

Status launch(void* graph, void* stream) {
  return check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(stream)), "cudaGraphLaunch");
}

void release_graph(void* graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

struct Events {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  ~Events() {
    if (begin != nullptr) cudaEventDestroy(begin);
    if (end != nullptr) cudaEventDestroy(end);
  }
};

Result<void*> start_timer(void* stream) {
  auto events = std::make_unique<Events>();
  FATHOM_RETURN_IF_ERROR(check(cudaEventCreate(&events->begin), "cudaEventCreate"));
  FATHOM_RETURN_IF_ERROR(check(cudaEventCreate(&events->end), "cudaEventCreate"));
  FATHOM_RETURN_IF_ERROR(check(cudaEventRecord(events->begin, stream_of(stream)), "cudaEventRecord"));
  return static_cast<void*>(events.release());
}

Result<double> stop_timer(void* timer, void* stream) {
  const std::unique_ptr<Events> events(static_cast<Events*>(timer));
  FATHOM_RETURN_IF_ERROR(check(cudaEventRecord(events->end, stream_of(stream)), "cudaEventRecord"));
  FATHOM_RETURN_IF_ERROR(check(cudaEventSynchronize(events->end), "an operation on the device"));
  float milliseconds = 0;
  FATHOM_RETURN_IF_ERROR(
      check(cudaEventElapsedTime(&milliseconds, events->begin, events->end), "cudaEventElapsedTime"));
  return milliseconds * 1e-3;
}

constexpr CudaKernels kKernels = {.prepare = entries::prepare,
                                  .linear = entries::linear,
                                  .rope_query = entries::rope_query,
                                  .store_latent = entries::store_latent,
                                  .absorbed_attention = entries::absorbed_attention,
                                  .merge_splits = entries::merge_splits,
                                  .gather_latents = entries::gather_latents,
                                  .expanded_attention = entries::expanded_attention,
                                  .router = entries::router,
                                  .plan_experts = entries::plan_experts,
                                  .combine_experts = entries::combine_experts,
                                  .embed = entries::embed,
                                  .gather_rows = entries::gather_rows,
                                  .clear_or_add = entries::clear_or_add,
                                  .logit_rows = entries::logit_rows,
                                  .sum_ranks = entries::sum_ranks};

// All cuts of a product by the same instructions.
CudaKernels kernels_of(const CudaDeviceFacts& facts) {
  CudaKernels table = kKernels;
  const auto family = kernels::cuda::product_family(facts.compute_capability);
  if (family == kernels::cuda::ProductFamily::kWgmma) table.linear = entries::linear_hopper;
  return table;
}

constexpr int kLeastCapability = 80;

Result<uint64_t> free_bytes() {
  FATHOM_RETURN_IF_ERROR(check(cudaSetDevice(chosen_device), "choosing the device"));
  size_t free = 0, total = 0;
  FATHOM_RETURN_IF_ERROR(check(cudaMemGetInfo(&free, &total), "reading the device's memory"));
  return uint64_t{free};
}

Result<CudaDeviceFacts> read_facts(int ordinal) {
  CudaDeviceFacts facts;
  cudaDeviceProp properties;
  FATHOM_RETURN_IF_ERROR(check(cudaGetDeviceProperties(&properties, ordinal), "reading the device's facts"));
  facts.name = properties.name;
  facts.compute_capability = properties.major * 10 + properties.minor;
  facts.num_multiprocessors = properties.multiProcessorCount;
  if (facts.compute_capability < kLeastCapability) {
    return unsupported("--device cuda: {} has compute capability {}.{}, 8.0 is the least", facts.name,
                       properties.major, properties.minor);
  }
  facts.total_bytes = properties.totalGlobalMem;
  std::copy_n(properties.uuid.bytes, facts.uuid.size(), facts.uuid.begin());
  return facts;
}

}  // namespace

Result<CudaDevice> open_cuda_device(int ordinal) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    return unsupported("--device cuda: this machine has no CUDA driver, or one older than CUDA {}.{}",
                       CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  }
  if (error != cudaSuccess) return unsupported("--device cuda: {}", cudaGetErrorString(error));
  if (ordinal >= count)
    return unsupported("--device cuda: device {} is wanted, this process sees {}", ordinal, count);
  chosen_device = ordinal;
  FATHOM_RETURN_IF_ERROR(check(cudaSetDevice(ordinal), "choosing the device"));
  FATHOM_ASSIGN_OR_RETURN(const CudaDeviceFacts facts, read_facts(ordinal));
  cudaStream_t stream = nullptr;
  FATHOM_RETURN_IF_ERROR(
      check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate"));
  return CudaDevice{.facts = facts,
                    .free_bytes = free_bytes,
                    .allocate = allocate,
                    .release = release,
                    .allocate_host = allocate_host,
                    .release_host = release_host,
                    .upload = upload,
                    .upload_later = upload_later,
                    .download_later = download_later,
                    .copy = copy,
                    .synchronize = synchronize,
                    .is_idle = is_idle,
                    .graphs = {begin_capture, end_capture, launch, release_graph},
                    .timer = {start_timer, stop_timer},
                    .kernels = kernels_of(facts),
                    .open_nccl = open_nccl,
                    .stream = stream};
}

int count_cuda_devices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace fathom
