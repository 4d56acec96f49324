#include "benchmark/cuda_bench.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/clock.h"
#include "benchmark/kernel_section.h"
#include "benchmark/random_memory.h"

namespace fathom {
namespace {

constexpr int kLeastPasses = 3;
// Of a pass of launches: some hundred times what events resolve.
constexpr double kLaunchPassSeconds = 1e-3;
constexpr double kMostGraphCalls = 128;
// What is made on the host and copied over and over.
constexpr int64_t kRandomBlock = int64_t{16} << 20;

Status launched(int error) {
  if (error == 0) return ok_status();
  return unsupported("a kernel was not launched: CUDA's error {}", error);
}

// A graph of calls, which is released at the end.
class CallGraph {
 public:
  static Result<CallGraph> record(const CudaDevice& device, int64_t num_calls,
                                  FunctionRef<int(int64_t)> launch) {
    FATHOM_RETURN_IF_ERROR(device.graphs.begin_capture(device.stream));
    Status status = ok_status();
    for (int64_t call = 0; call < num_calls && status.ok(); ++call) status = launched(launch(call));
    Result<void*> graph = device.graphs.end_capture(device.stream);
    FATHOM_RETURN_IF_ERROR(graph.status());
    CallGraph calls(device, *graph);
    FATHOM_RETURN_IF_ERROR(status);
    return calls;
  }
  CallGraph(CallGraph&& other) noexcept
      : device_(other.device_), graph_(std::exchange(other.graph_, nullptr)) {}
  ~CallGraph() {
    if (graph_ != nullptr) device_.graphs.release(graph_);
  }

  Status run() const { return device_.graphs.launch(graph_, device_.stream); }

 private:
  CallGraph(const CudaDevice& device, void* graph) : device_(device), graph_(graph) {}

  const CudaDevice& device_;
  void* graph_ = nullptr;
};

}  // namespace

int64_t memory_share(const CudaDevice& device, uint64_t share) {
  constexpr int64_t kEmulatedBytes = int64_t{1} << 20;
  return device.facts.is_emulated ? kEmulatedBytes : static_cast<int64_t>(device.facts.total_bytes / share);
}

Result<DeviceBuffer> cuda_memory(const CudaDevice& device, int64_t bytes) {
  const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
  FATHOM_ASSIGN_OR_RETURN(void* data, device.allocate(size));
  return DeviceBuffer(data, size, device.release);
}

Result<DeviceBuffer> random_cuda_memory(const CudaDevice& device, int64_t bytes, DType dtype) {
  FATHOM_ASSIGN_OR_RETURN(DeviceBuffer buffer, cuda_memory(device, bytes));
  std::vector<std::byte> block(static_cast<size_t>(std::min(round_up(bytes, 8), kRandomBlock)));
  fill_random(block.data(), static_cast<int64_t>(block.size()), dtype);
  for (int64_t done = 0; done < bytes; done += kRandomBlock) {
    const auto size = static_cast<size_t>(std::min(kRandomBlock, bytes - done));
    auto* to = static_cast<std::byte*>(buffer.data()) + done;
    FATHOM_RETURN_IF_ERROR(device.upload(block.data(), to, size, device.stream));
  }
  return buffer;
}

Result<DeviceBuffer> upload_to_cuda(const CudaDevice& device, const void* host, int64_t bytes) {
  FATHOM_ASSIGN_OR_RETURN(DeviceBuffer buffer, cuda_memory(device, bytes));
  FATHOM_RETURN_IF_ERROR(device.upload(host, buffer.data(), static_cast<size_t>(bytes), device.stream));
  return buffer;
}

Result<std::vector<double>> time_passes(const CudaDevice& device, double seconds,
                                        FunctionRef<Status()> pass) {
  FATHOM_RETURN_IF_ERROR(pass());
  FATHOM_RETURN_IF_ERROR(device.synchronize(device.stream));
  std::vector<double> passes;
  const double end = monotonic_seconds() + seconds;
  while (passes.size() < kLeastPasses || monotonic_seconds() < end) {
    FATHOM_ASSIGN_OR_RETURN(void* timer, device.timer.start(device.stream));
    const Status status = pass();
    const Result<double> taken = device.timer.stop(timer, device.stream);
    FATHOM_RETURN_IF_ERROR(status);
    FATHOM_RETURN_IF_ERROR(taken.status());
    passes.push_back(*taken);
  }
  return passes;
}

Result<CallTime> time_launches(const CudaDevice& device, double seconds,
                               FunctionRef<int(int64_t call)> launch) {
  // The first launch of a kernel loads it, which a capture cannot.
  FATHOM_ASSIGN_OR_RETURN(const std::vector<double> single,
                          time_passes(device, 0, [&] { return launched(launch(0)); }));
  const double least = *std::min_element(single.begin(), single.end());
  const auto num_calls = static_cast<int64_t>(std::clamp(kLaunchPassSeconds / least, 1.0, kMostGraphCalls));
  FATHOM_ASSIGN_OR_RETURN(const CallGraph calls, CallGraph::record(device, num_calls, launch));
  FATHOM_ASSIGN_OR_RETURN(std::vector<double> passes,
                          time_passes(device, seconds, [&] { return calls.run(); }));
  for (double& pass : passes) pass /= static_cast<double>(num_calls);
  const auto num_timed = static_cast<int64_t>(passes.size()) * num_calls;
  return call_time(std::move(passes), num_timed);
}

}  // namespace fathom
