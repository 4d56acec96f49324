// What a device does for the model: coarse operations in the model's own words, no graph. A backend owns its
// threads or streams, its scratch memory and the layout of its weights; fusion is its private matter.
// Operations run in call order. One thread at a time calls a backend.
//
// Symbols as in kernels/params.h. All activations are device pointers to float32, row-major and contiguous.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "base/status.h"
#include "device/batch.h"
#include "kernels/params.h"
#include "tensor/view.h"

namespace fathom {

using kernels::ActivationRounding;
using kernels::LatentCacheView;

// Device memory with the function that gives it back. Move-only.
class DeviceBuffer {
 public:
  using Release = void (*)(void* data, size_t bytes);
  DeviceBuffer() = default;
  DeviceBuffer(void* data, size_t bytes, Release release) : data_(data), bytes_(bytes), release_(release) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_ != nullptr) release_(data_, bytes_);
  }

  void* data() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(release_, other.release_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Release release_ = nullptr;
};

// A weight matrix (or vector: rows 1) as the backend keeps it.
struct Weight {
  const void* data = nullptr;  // in storage, or in the checkpoint's mapping, which outlives the model
  DType dtype = DType::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;
  DeviceBuffer storage;

  bool present() const { return data != nullptr; }
  const float* floats() const { return static_cast<const float*>(data); }
};

// One SwiGLU network: down(silu(gate(x)) * up(x)).
struct MlpWeights {
  Weight gate;  // [width, D]
  Weight up;    // [width, D]
  Weight down;  // [D, width]
};

struct NormOp {
  const float* x = nullptr;  // [num_tokens, width]
  const Weight* weight = nullptr;
  float* y = nullptr;
  int64_t num_tokens = 0;
  int64_t width = 0;
  float eps = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

struct LinearOp {
  using Output = kernels::LinearParams::Output;
  const float* x = nullptr;  // [num_tokens, weight->cols]
  const Weight* weight = nullptr;
  const Weight* bias = nullptr;  // or null
  float* y = nullptr;            // [num_tokens, weight->rows]
  int64_t num_tokens = 0;
  Output output = Output::kStore;
};

// cos and sin of each position's angles, [num_positions, r / 2] each.
struct RopeTables {
  const float* cosines = nullptr;
  const float* sines = nullptr;
};

struct RopeQueryOp {
  float* q = nullptr;  // [T, H, n + r], rotated in place
  RopeTables tables;
  int64_t num_heads = 0;
  int64_t nope_dim = 0;
  int64_t rope_dim = 0;
};

struct StoreLatentOp {
  const float* kv_a = nullptr;  // [T, R + r]
  const Weight* norm_weight = nullptr;
  RopeTables tables;
  LatentCacheView cache;
  float eps = 0;
};

struct AttendOp {
  const float* q = nullptr;      // [T, H, n + r], rotated
  const Weight* kv_b = nullptr;  // [H * (n + v), R]: per head the key rows, then the value rows
  float* out = nullptr;          // [T, H * v], rounded
  LatentCacheView cache;
  int64_t num_heads = 0;
  int64_t nope_dim = 0;
  int64_t v_dim = 0;
  float scale = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

struct RouteOp {
  const float* x = nullptr;         // [T, D]
  const Weight* weight = nullptr;   // [E, D] float32
  int32_t* expert_ids = nullptr;    // [T, K] ascending in each row
  float* expert_weights = nullptr;  // [T, K]
  int64_t num_tokens = 0;
  int64_t experts_per_token = 0;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  float scaling = 1;
  kernels::RouterParams::Weights weights = kernels::RouterParams::Weights::kScaled;
};

// residual += sum of the chosen experts' outputs by their weights, in expert order, + the shared experts'
// output.
struct ExpertsOp {
  const float* x = nullptr;  // [T, D]
  const int32_t* expert_ids = nullptr;
  const float* expert_weights = nullptr;
  std::span<const MlpWeights> experts;  // [E]
  const MlpWeights* shared = nullptr;   // or null
  float* residual = nullptr;            // [T, D]
  int64_t num_tokens = 0;
  int64_t experts_per_token = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

// residual += down(round(silu(gate(x)) * up(x))): the dense layers.
struct MlpOp {
  const float* x = nullptr;
  const MlpWeights* weights = nullptr;
  float* residual = nullptr;
  int64_t num_tokens = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Memory for activations and cache, uninitialised.
  virtual Result<DeviceBuffer> allocate(size_t bytes) = 0;
  // A weight in the backend's layout. tensor is borrowed: its memory must outlive the weight.
  virtual Result<Weight> load_weight(const TensorView& tensor) = 0;
  // The same as float32 whatever its stored type: norms, router, biases.
  virtual Result<Weight> load_float_weight(const TensorView& tensor) = 0;
  virtual Status upload(const void* host, void* device, size_t bytes) = 0;
  virtual Status download(const void* device, void* host, size_t bytes) = 0;

  // Makes batch the current one for embed, rope_query, store_latent, attend and gather_logits_rows. Its
  // arrays stay valid until the step's last operation.
  virtual Status begin_step(const Batch& batch) = 0;
  virtual void embed(const Weight& table, float* out) = 0;  // out [T, D]
  virtual void rms_norm(const NormOp& op) = 0;
  virtual void linear(const LinearOp& op) = 0;
  virtual void rope_query(const RopeQueryOp& op) = 0;
  virtual void store_latent(const StoreLatentOp& op) = 0;
  virtual void attend(const AttendOp& op) = 0;
  virtual void route(const RouteOp& op) = 0;
  virtual void experts(const ExpertsOp& op) = 0;
  virtual void mlp(const MlpOp& op) = 0;
  // out[i] = x[logits_rows[i]]
  virtual void gather_logits_rows(const float* x, int64_t width, float* out) = 0;
};

struct CpuBackendOptions {
  int num_threads = 0;  // 0: all CPUs this process may use
  Isa isa = Isa::kReference;
};

// kResourceExhausted where the system refuses the threads.
Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuBackendOptions& options);

}  // namespace fathom
