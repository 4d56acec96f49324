// DeepSeek-V2's forward pass: one flat batch in, logits of the wanted rows out. Formulas: docs/model.md.
// The residual stream, accumulators, router, softmax and rope tables are float32 whatever the weights are.
// Not here: scheduling, paging, sampling. One thread at a time calls forward().
//
// Several ranks compute one model together (model/sharding.h): all call the same with the same batch, each
// with its own weights and its own copy of the cache, or its own sequences' cache, and all get the same bits.
#pragma once

#include <memory>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"
#include "checkpoint/quantization.h"
#include "device/backend.h"
#include "model/latent_cache.h"
#include "model/sharding.h"
#include "model/weights.h"

namespace fathom {

struct ModelOptions {
  // Activations are rounded to this before they meet weights; kFloat32 rounds nothing.
  DType activation_dtype = DType::kBFloat16;
  int64_t max_tokens = 512;      // T of the largest batch
  int64_t max_logits_rows = 64;  // wanted rows of the largest batch
  int64_t max_positions = 4096;  // positions that will be computed: [0, max_positions)
  Sharding sharding = {};
  // The backend's, of sharding.num_ranks ranks; null where there is one.
  DeviceCommunicator* communicator = nullptr;
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

 private:
  DeepseekV2(Backend& backend, const ModelConfig& config, const ModelOptions& options);
  Status allocate_activations();
  // Makes the rows whose attention this rank computes the backend's batch.
  Status begin_attention(const Batch& batch);
  Status attention_block(const LayerWeights& layer, const LatentCacheView& cache);
  void attend(const LayerWeights& layer, const LatentCacheView& cache);
  void query_and_latent(const LayerWeights& layer);
  void output_projection(const AttentionWeights& weights);
  // Has every rank get the rows of hidden_ that another one has computed.
  Status share_rows();
  Status feed_forward_block(const LayerWeights& layer);
  // network(norm(residual)) of one slice, added to sum.
  void network_of(const LayerWeights& layer, const NetworkSlice& network, float* sum);
  Status head(int64_t num_rows);
  Status gather_logits(int64_t num_rows);
  // Floats from one rank's logits of so many rows to the next one's in gathered_logits_.
  int64_t gathered_stride(int64_t num_rows) const;
  IndexRange vocabulary_share(int64_t rank) const;
  // Of the rows that this rank attends for.
  void project(const float* x, const Norm& norm, std::span<const Projection> outputs);
  Norm norm(const VectorWeight& weight) const;

  int64_t num_local_slices() const { return options_.sharding.slices_per_rank(); }
  int64_t num_local_heads() const { return options_.sharding.rank_heads(config_); }
  int64_t floats_of(int64_t num_rows) const { return num_rows * config_.hidden_size; }
  float* own_hidden() const { return hidden_.floats() + floats_of(own_rows_.begin); }
  // Where slice i of this rank leaves its part of a sum over num_rows rows, [num_rows, D].
  float* partial(int64_t i, int64_t num_rows) const { return partials_.floats() + i * floats_of(num_rows); }
  // partial(begin) becomes the sum of slices [begin, end), in the order of parallel/sum_tree.h.
  void sum_partials(int64_t begin, int64_t end, int64_t num_rows);
  // residual += the sum of all ranks' partial(0), in the same order, over the whole batch.
  Status add_sum_of_ranks();
  Status reduce(float* values, int64_t count);

  Backend& backend_;
  ModelConfig config_;
  ModelOptions options_;
  kernels::ActivationRounding rounding_;
  ModelWeights weights_;
  float scale_ = 0;
  DeviceBuffer rope_storage_;
  RopeTables rope_;
  // Of the batch under way.
  int64_t num_tokens_ = 0;
  IndexRange own_rows_;                 // that this rank attends for
  std::vector<int32_t> own_starts_;     // Batch::starts of these
  std::vector<size_t> home_row_bytes_;  // where each home's rows begin in hidden_; and their end

  // Activations, [max_tokens, ...].
  DeviceBuffer hidden_;    // D: the residual stream
  DeviceBuffer q_lora_;    // q_lora_rank
  DeviceBuffer q_;         // H (n + r)
  DeviceBuffer kv_a_;      // R + r
  DeviceBuffer attended_;  // H v
  DeviceBuffer partials_;  // Sharding::num_partial_sums() of D
  // [max_logits_rows, ...]
  DeviceBuffer logits_;           // vocab_size
  DeviceBuffer gathered_logits_;  // of several ranks: rank by rank, each [rows, its share of the vocabulary]
};

}  // namespace fathom
