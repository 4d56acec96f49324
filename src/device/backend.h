// What a device does for the model: coarse operations in the model's own words, no graph. A backend owns its
// threads or streams, its scratch memory and the layout of its weights; fusion is its private matter.
// Operations run in call order. One thread at a time calls a backend.
//
// Symbols as in kernels/params.h. All activations are device pointers to float32, row-major and contiguous.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/cpu_features.h"
#include "base/function_ref.h"
#include "base/memory_info.h"
#include "base/status.h"
#include "device/batch.h"
#include "device/device_buffer.h"
#include "device/device_communicator.h"
#include "device/weights.h"
#include "kernels/params.h"
#include "kernels/row_query.h"

namespace fathom {

using kernels::ActivationRounding;
using kernels::LatentCacheView;

// RMS norm in front of a block; weight null: none.
struct Norm {
  const VectorWeight* weight = nullptr;
  float eps = 0;
};

// y (+)= weight x + bias for one of several weights that read the same rows.
struct Projection {
  enum class Output : uint8_t { kStore, kAdd };
  const Weight* weight = nullptr;
  const VectorWeight* bias = nullptr;  // or null
  float* y = nullptr;                  // [num_tokens, weight->rows]
  Output output = Output::kStore;
};

struct ProjectOp {
  const float* x = nullptr;  // [num_tokens, cols of the weights]
  int64_t x_stride = 0;      // floats from row to row; 0: cols
  Norm norm;
  std::span<const Projection> outputs;
  int64_t num_tokens = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

// cos and sin of each position's angles, [num_positions, r / 2] each.
struct RopeTables {
  const float* cosines = nullptr;
  const float* sines = nullptr;
};

// Rotates the queries in place and writes the tokens' rows of the latent cache.
struct StoreLatentOp {
  float* q = nullptr;           // [T, H, n + r]
  const float* kv_a = nullptr;  // [T, R + r]
  Norm norm;                    // of the latent
  RopeTables tables;
  LatentCacheView cache;
  int64_t num_heads = 0;
  int64_t nope_dim = 0;
};

struct AttendOp {
  const float* q = nullptr;  // [T, H, n + r], rotated
  const KvBWeights* kv_b = nullptr;
  float* out = nullptr;  // [T, H * v]
  LatentCacheView cache;
  int64_t num_heads = 0;
  int64_t nope_dim = 0;
  int64_t v_dim = 0;
  float scale = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

// residual += network(norm(x)): the dense layers. x is the residual itself, or another array where the sum of
// several networks' outputs is taken apart from it.
struct MlpOp {
  Norm norm;
  const MlpWeights* weights = nullptr;
  const float* x = nullptr;   // [num_tokens, D]
  float* residual = nullptr;  // [num_tokens, D]
  int64_t num_tokens = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

// How the router's logits become experts and weights; see kernels::RouterParams.
struct Routing {
  const Weight* router = nullptr;  // [E, D]
  int64_t experts_per_token = 0;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  float scaling = 1;
  kernels::RouterParams::Weights weights = kernels::RouterParams::Weights::kScaled;
};

// residual += sum of the chosen experts' outputs by their weights, in expert order, + the shared experts'
// output; all of norm(x), as in MlpOp. Experts that are not present are others' to compute; one at least is.
struct MoeOp {
  Norm norm;
  Routing routing;
  std::span<const MlpWeights> experts;  // [E]
  const MlpWeights* shared = nullptr;   // or null
  const float* x = nullptr;             // [num_tokens, D]
  float* residual = nullptr;            // [num_tokens, D]
  int64_t num_tokens = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

// logits[i] = weight norm(x[logits_rows[i]])
struct HeadOp {
  const float* x = nullptr;  // [T, D]
  Norm norm;
  const Weight* weight = nullptr;  // [vocab, D]
  float* logits = nullptr;         // [logits_rows, vocab]
  ActivationRounding rounding = ActivationRounding::kNone;
};

// What the host wants of logits [.., stride], of which the first `width` of a row count.
struct ExamineOp {
  const float* logits = nullptr;
  int64_t stride = 0;
  int64_t width = 0;
  std::span<const kernels::RowQuery> queries;  // records
  std::span<const int64_t> rows;               // rows as they are
};
// On the host, valid until the next call of the backend.
struct Examined {
  std::span<const kernels::RowRecord> records;  // of each query
  const uint64_t* heads = nullptr;              // of each query, head_stride apart
  int64_t head_stride = 0;
  const float* rows = nullptr;  // [rows, stride]
};

// Rows from one place to another that it does not overlap.
struct CopyRowsOp {
  const float* from = nullptr;  // [num_rows, width]
  int64_t from_stride = 0;      // floats from row to row
  float* to = nullptr;          // [num_rows, width]
  int64_t to_stride = 0;
  int64_t num_rows = 0;
  int64_t width = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Makes this process's device one of a group, whose ranks call it together, before any step and once. What
  // it returns lives as long as the backend; the communicator outlives both.
  virtual Result<DeviceCommunicator*> connect(Communicator& communicator) = 0;
  // What of the memory that weights, activations and cache are in may still be used.
  virtual MemoryInfo memory() const { return read_memory_info(); }
  // Memory for activations and cache, uninitialised.
  virtual Result<DeviceBuffer> allocate(size_t bytes) = 0;
  virtual Status upload(const void* host, void* device, size_t bytes) = 0;
  // The same on the host: in place where the host can read the device's memory, else written to room. Valid
  // until the device's memory changes.
  virtual Result<const void*> read_back(const void* device, size_t bytes, std::vector<std::byte>& room) = 0;
  // Parts and records of logits, after one wait for all of them. Nothing where the host reads the device's
  // memory in place anyway.
  virtual Result<std::optional<Examined>> examine(const ExamineOp&) { return std::optional<Examined>(); }
  // Between two places on the device that do not overlap.
  virtual Status copy(const void* from, void* to, size_t bytes) = 0;

  // Weights in the backend's layout. Sources are read during the call only.
  virtual Result<Weight> load_matrix(const WeightSource& source) = 0;
  // kUnsupported where gate and up are stored differently.
  virtual Result<MlpWeights> load_mlp(const WeightSource& gate, const WeightSource& up,
                                      const WeightSource& down) = 0;
  // tensor: kv_b_proj [num_heads * (nope_dim + v_dim), R], floating.
  virtual Result<KvBWeights> load_kv_b(const TensorView& tensor, int64_t num_heads, int64_t nope_dim) = 0;
  virtual Result<VectorWeight> load_vector(const TensorView& tensor) = 0;
  virtual Result<EmbeddingTable> load_embedding(const TensorView& tensor) = 0;

  // Makes batch the current one for embed, store_latent, attend and head. Its arrays stay valid until the
  // step's last operation.
  virtual Status begin_step(const Batch& batch) = 0;
  // out [T, D]; zeros for tokens that the table does not have.
  virtual void embed(const EmbeddingTable& table, float* out) = 0;
  virtual void project(const ProjectOp& op) = 0;
  virtual void store_latent(const StoreLatentOp& op) = 0;
  virtual void attend(const AttendOp& op) = 0;
  virtual void moe(const MoeOp& op) = 0;
  virtual void mlp(const MlpOp& op) = 0;
  virtual void head(const HeadOp& op) = 0;
  // For sums that are taken apart: x[i] = 0, y[i] += x[i]; i in [0, count).
  virtual void clear(float* x, int64_t count) = 0;
  virtual void add(const float* x, float* y, int64_t count) = 0;
  virtual void copy_rows(const CopyRowsOp& op) = 0;

  // Work on the host between operations: calls work(thread, index) once for each index in [0, count), thread
  // in [0, num_host_threads()), and returns when all is done. Which thread takes which index varies; work
  // does not throw.
  using HostWork = FunctionRef<void(int thread, int64_t index)>;
  virtual int num_host_threads() const { return 1; }
  virtual void share_out(int64_t count, HostWork work) {
    for (int64_t i = 0; i < count; ++i) work(0, i);
  }
};

struct CpuBackendOptions {
  int num_threads = 0;  // 0: all CPUs this process may use
  Isa isa = Isa::kReference;
};

// kResourceExhausted where the system refuses the threads.
Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuBackendOptions& options);

struct CudaBackendOptions {
  int local_rank = 0;        // of several processes of this host, which take the devices they see in turn
  int num_host_threads = 0;  // for work on the host; 0: all CPUs this process may use
};

// kUnsupported, saying why, where there is no such device, or this build is without CUDA.
Result<std::unique_ptr<Backend>> make_cuda_backend(const CudaBackendOptions& options);
// What such a backend will find. Opens the device.
Result<MemoryInfo> read_cuda_memory(int ordinal);

}  // namespace fathom
