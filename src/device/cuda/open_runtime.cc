// CudaDevice over the CUDA runtime. The runtime is linked statically and looks for the driver when it is
// first used, so that the program also runs where there is none.
#include <cuda_runtime_api.h>

#include <atomic>

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

Status download(const void* device, void* host, size_t bytes, void* stream) {
  FATHOM_RETURN_IF_ERROR(copy_later(device, host, bytes, cudaMemcpyDeviceToHost, stream));
  return synchronize(stream);
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
                                  .clear_or_add = entries::clear_or_add};

constexpr int kLeastCapability = 80;

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
  size_t free_bytes = 0, total = 0;
  FATHOM_RETURN_IF_ERROR(check(cudaMemGetInfo(&free_bytes, &total), "reading the device's memory"));
  facts.free_bytes = free_bytes;
  facts.total_bytes = total;
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
                    .allocate = allocate,
                    .release = release,
                    .allocate_host = allocate_host,
                    .release_host = release_host,
                    .upload = upload,
                    .upload_later = upload_later,
                    .download = download,
                    .copy = copy,
                    .synchronize = synchronize,
                    .graphs = {begin_capture, end_capture, launch, release_graph},
                    .kernels = kKernels,
                    .stream = stream};
}

int count_cuda_devices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace fathom
