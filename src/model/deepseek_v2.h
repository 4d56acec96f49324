// DeepSeek-V2's forward pass: one flat batch in, logits of the wanted rows out. Formulas: docs/model.md.
// The residual stream, accumulators, router, softmax and rope tables are float32 whatever the weights are.
// Not here: scheduling, paging, sampling. One thread at a time calls forward().
//
// Several ranks compute one model together (model/sharding.h): all call the same with the same batch, each
// with its own weights and its own copy of the cache, and all get the same bits.
#pragma once

#include <functional>
#include <memory>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"
#include "checkpoint/quantization.h"
#include "device/backend.h"
#include "model/latent_cache.h"
#include "model/sharding.h"
#include "model/weights.h"
#include "parallel/communicator.h"

namespace fathom {

struct ModelOptions {
  // Activations are rounded to this before they meet weights; kFloat32 rounds nothing.
  DType activation_dtype = DType::kBFloat16;
  int64_t max_tokens = 512;      // T of the largest batch
  int64_t max_logits_rows = 64;  // wanted rows of the largest batch
  int64_t max_positions = 4096;  // positions that will be computed: [0, max_positions)
  Sharding sharding = {};
  // Of sharding.num_ranks ranks, outlives the model; null where there is one. Its sums are taken where the
  // activations lie: several ranks need a backend whose memory is the host's.
  Communicator* communicator = nullptr;
};

class DeepseekV2 {
 public:
  // The backend must outlive the model, whose weights it keeps; the checkpoint is not needed afterwards.
  // progress may be null.
  // Precondition: check_weights() of model/stored_weight.h passed, and the checks of model/sharding.h.
  static Result<std::unique_ptr<DeepseekV2>> load(Backend& backend, const Checkpoint& checkpoint,
                                                  const QuantDescription& description,
                                                  const ModelConfig& config, const ModelOptions& options,
                                                  ProgressSink* progress);

  const ModelConfig& config() const { return config_; }
  const ModelOptions& options() const { return options_; }

  // Computes the batch's tokens and writes their latents to the cache. Returns logits of batch.logits_rows,
  // [rows, vocab_size] float32 on the device, valid until the next call. Failure: a lost rank.
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
  Status attention_block(const LayerWeights& layer, const LatentCacheView& cache);
  void query_and_latent(const LayerWeights& layer);
  Status output_projection(const AttentionWeights& weights);
  Status feed_forward_block(const LayerWeights& layer);
  // network(norm(residual)) of one slice, added to sum.
  void network_of(const LayerWeights& layer, const NetworkSlice& network, float* sum);
  Status head(int64_t num_rows);
  Status gather_logits(int64_t num_rows);
  IndexRange vocabulary_share(int64_t rank) const;
  void project(const float* x, const Norm& norm, std::span<const Projection> outputs);
  Norm norm(const VectorWeight& weight) const;

  int64_t num_local_slices() const { return options_.sharding.slices_per_rank(); }
  int64_t num_local_heads() const { return config_.num_attention_heads / options_.sharding.num_ranks; }
  int64_t hidden_floats() const { return num_tokens_ * config_.hidden_size; }  // of the batch
  // Where slice i of this rank leaves its part of a sum, [T, D].
  float* partial(int64_t i) const { return partials_.floats() + i * hidden_floats(); }
  // residual += the sum of all slices' parts, in the order of parallel/sum_tree.h.
  Status add_partials();
  Status reduce(float* values, int64_t count);

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
  DeviceBuffer partials_;  // slices of D; where the model is sliced
  // [max_logits_rows, ...]
  DeviceBuffer logits_;  // vocab_size
  // Of several ranks: rank 0's share of the vocabulary, the largest.
  DeviceBuffer own_logits_;
  DeviceBuffer gathered_logits_;  // num_ranks such
};

}  // namespace fathom
