// The emulated device: copies and launches take place at once, but for those of a graph, which are kept. Its
// memory is an arena that nobody can touch but kernels and copies while they run, so that a host which takes
// a device's pointer for its own ends there, as it would on a real device.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "device/cuda/emulated_device.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"

namespace fathom {
namespace {

namespace emulated = kernels::cuda_emulated;

constexpr size_t kArenaBytes = size_t{64} << 30;  // of addresses
constexpr size_t kPageBytes = 4096;
constexpr uint64_t kMemoryBytes = uint64_t{4} << 30;

// Every allocation has pages of its own, which are used again when nothing is allocated any more.
class Arena {
 public:
  Arena()
      : begin_(static_cast<std::byte*>(
            ::mmap(nullptr, kArenaBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    FATHOM_CHECK(begin_ != MAP_FAILED, "no room for the emulated device's memory");
  }

  // nullptr: none left.
  void* allocate(size_t bytes) {
    const std::lock_guard lock(mutex_);
    const size_t rounded = round_up(bytes, kPageBytes);
    if (live_bytes_ + rounded > kMemoryBytes || used_ + rounded > kArenaBytes) return nullptr;
    std::byte* data = begin_ + used_;
    used_ += rounded;
    live_bytes_ += rounded;
    protect(PROT_READ | PROT_WRITE, data, rounded);
    std::memset(data, 0xff, rounded);
    if (!is_open_) protect(PROT_NONE, data, rounded);
    return data;
  }
  void release(void* data, size_t bytes) {
    const std::lock_guard lock(mutex_);
    const size_t rounded = round_up(bytes, kPageBytes);
    live_bytes_ -= rounded;
    ::madvise(data, rounded, MADV_DONTNEED);
    if (live_bytes_ == 0) used_ = 0;
  }
  uint64_t free_bytes() {
    const std::lock_guard lock(mutex_);
    return kMemoryBytes - live_bytes_;
  }
  // Between these, memory can be touched, and after kernels until the next copy is done: opening and closing
  // for every kernel would take longer than most of them.
  void enter() {
    const std::lock_guard lock(mutex_);
    ++num_inside_;
    if (!is_open_) protect(PROT_READ | PROT_WRITE, begin_, used_);
    is_open_ = true;
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    --num_inside_;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (num_inside_ > 0) return;
    protect(PROT_NONE, begin_, used_);
    is_open_ = false;
  }

 private:
  static void protect(int rights, std::byte* data, size_t bytes) {
    FATHOM_CHECK(::mprotect(data, bytes, rights) == 0, "the emulated device's memory cannot be protected");
  }

  std::mutex mutex_;
  std::byte* begin_;
  size_t used_ = 0;
  size_t live_bytes_ = 0;
  int num_inside_ = 0;
  bool is_open_ = false;
};

Arena& arena() {
  static Arena& the_arena = *new Arena();  // buffers may be released by statics that go later
  return the_arena;
}

Result<void*> allocate(size_t bytes) {
  void* data = arena().allocate(bytes);
  if (data == nullptr) return resource_exhausted("cannot allocate {} bytes on the emulated device", bytes);
  return data;
}

void release(void* data, size_t bytes) { arena().release(data, bytes); }

Result<void*> allocate_host(size_t bytes) {
  void* data = std::malloc(bytes);
  if (data == nullptr) return resource_exhausted("cannot allocate {} bytes", bytes);
  return std::memset(data, 0xff, bytes);
}

void release_host(void* data, size_t) { std::free(data); }

Status copy(const void* from, void* to, size_t bytes, void*) {
  FATHOM_CHECK(emulated::launch_recorder() == nullptr, "a copy of {} bytes in a graph's capture", bytes);
  arena().enter();
  if (bytes > 0) std::memcpy(to, from, bytes);
  arena().leave();
  arena().close();
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

Result<void*> start_timer(void*) { return static_cast<void*>(new double(monotonic_seconds())); }

Result<double> stop_timer(void* timer, void*) {
  const std::unique_ptr<double> start(static_cast<double*>(timer));
  return monotonic_seconds() - *start;
}

}  // namespace

CudaDevice emulated_device() {
  static char stream;
  static std::once_flag once;
  std::call_once(once, [] {
    emulated::set_device_rules(
        {.stream = &stream, .enter = [] { arena().enter(); }, .leave = [] { arena().leave(); }});
  });
  return {.facts = {.name = "emulated device",
                    .is_emulated = true,
                    .compute_capability = 80,
                    .num_multiprocessors = 4,
                    .total_bytes = kMemoryBytes},
          .free_bytes = [] { return Result<uint64_t>(arena().free_bytes()); },
          .allocate = allocate,
          .release = release,
          .allocate_host = allocate_host,
          .release_host = release_host,
          .upload = copy,
          .upload_later = copy,
          .download_later = copy,
          .copy = copy,
          .synchronize = synchronize,
          .is_idle = [](void*) { return Result<bool>(true); },
          .graphs = {begin_capture, end_capture, launch_graph, release_graph},
          .timer = {start_timer, stop_timer},
          .kernels = {.prepare = emulated::prepare,
                      .linear = emulated::linear,
                      .rope_query = emulated::rope_query,
                      .store_latent = emulated::store_latent,
                      .absorbed_attention = emulated::absorbed_attention,
                      .merge_splits = emulated::merge_splits,
                      .gather_latents = emulated::gather_latents,
                      .expanded_attention = emulated::expanded_attention,
                      .router = emulated::router,
                      .plan_experts = emulated::plan_experts,
                      .combine_experts = emulated::combine_experts,
                      .embed = emulated::embed,
                      .gather_rows = emulated::gather_rows,
                      .clear_or_add = emulated::clear_or_add,
                      .logit_rows = emulated::logit_rows,
                      .sum_ranks = emulated::sum_ranks},
          .open_nccl = emulated_machine().open_nccl,
          .stream = &stream};
}

EmulatedMachine& emulated_machine() {
  static EmulatedMachine machine;
  return machine;
}

Result<CudaDevice> open_cuda_device(int ordinal) {
  const int count = emulated_machine().num_devices;
  if (ordinal >= count)
    return unsupported("--device cuda: device {} is wanted, there are {}", ordinal, count);
  CudaDevice device = emulated_device();
  device.facts.uuid[0] = static_cast<char>(ordinal);
  return device;
}

int count_cuda_devices() { return emulated_machine().num_devices; }

}  // namespace fathom
