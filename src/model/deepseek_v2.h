// DeepSeek-V2's forward pass: one flat batch in, logits of the wanted rows out. Formulas: docs/model.md.
// The residual stream, accumulators, router, softmax and rope tables are float32 whatever the weights are.
// Not here: scheduling, paging, sampling. One thread at a time calls forward().
#pragma once

#include <functional>
#include <memory>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"
#include "checkpoint/quantization.h"
#include "device/backend.h"
#include "model/latent_cache.h"
#include "model/weights.h"

namespace fathom {

struct ModelOptions {
  // Activations are rounded to this before they meet weights; kFloat32 rounds nothing.
  DType activation_dtype = DType::kBFloat16;
  int64_t max_tokens = 512;      // T of the largest batch
  int64_t max_logits_rows = 64;  // wanted rows of the largest batch
  int64_t max_positions = 4096;  // positions that will be computed: [0, max_positions)
};

class DeepseekV2 {
 public:
  // The backend must outlive the model, whose weights it keeps; the checkpoint is not needed afterwards.
  // progress may be null.
  // Precondition: check_weights() of model/stored_weight.h passed.
  static Result<std::unique_ptr<DeepseekV2>> load(Backend& backend, const Checkpoint& checkpoint,
                                                  const QuantDescription& description,
                                                  const ModelConfig& config, const ModelOptions& options,
                                                  ProgressSink* progress);

  const ModelConfig& config() const { return config_; }
  const ModelOptions& options() const { return options_; }

  // Computes the batch's tokens and writes their latents to the cache. Returns logits of batch.logits_rows,
  // [rows, vocab_size] float32 on the device, valid until the next call.
  // Precondition: sizes within the options, ids within the vocabulary (FATHOM_CHECK).
  Result<const float*> forward(const Batch& batch, const LatentCache& cache);

  // Logits of other rows of the batch that forward() computed last; the same in all but logits_rows, of which
  // there are at most max_logits_rows. Valid until the next call of either.
  Result<const float*> more_logits(const Batch& batch);

  // For looking inside: called after each layer with the residual stream [T, D] on the device.
  using LayerObserver = std::function<void(int64_t layer_index, const float* hidden)>;
  void observe_layers(LayerObserver observer) { observer_ = std::move(observer); }

 private:
  DeepseekV2(Backend& backend, const ModelConfig& config, const ModelOptions& options);
  Status allocate_activations();
  void attention_block(const LayerWeights& layer, const LatentCacheView& cache);
  void feed_forward_block(const LayerWeights& layer);
  void query_and_latent(const LayerWeights& layer);
  void head();
  void project(const float* x, const Norm& norm, std::span<const Projection> outputs);
  Norm norm(const VectorWeight& weight) const;

  Backend& backend_;
  ModelConfig config_;
  ModelOptions options_;
  kernels::ActivationRounding rounding_;
  ModelWeights weights_;
  float scale_ = 0;
  DeviceBuffer rope_storage_;
  RopeTables rope_;
  int64_t num_tokens_ = 0;  // of the batch under way
  LayerObserver observer_;

  // Activations, [max_tokens, ...].
  DeviceBuffer hidden_;    // D: the residual stream
  DeviceBuffer q_lora_;    // q_lora_rank
  DeviceBuffer q_;         // H (n + r)
  DeviceBuffer kv_a_;      // R + r
  DeviceBuffer attended_;  // H v
  // [max_logits_rows, ...]
  DeviceBuffer logits_;  // vocab_size
};

}  // namespace fathom
