// From the checkpoint to the backend's weights, layer by layer: all of them, or what one rank has of them,
// cut out of a whole model's tensors or as the rank's own files hold it (rank_weights.h). Each tensor's pages
// of the checkpoint's mapping are given back as soon as it is packed, so that files and packed weights are
// not in memory both.
#pragma once

#include <string>
#include <unordered_map>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"
#include "checkpoint/tensor_stream.h"
#include "device/backend.h"
#include "model/rank_weights.h"
#include "model/sharding.h"
#include "model/stored_weight.h"
#include "model/weight_table.h"
#include "model/weight_window.h"
#include "model/weights.h"

namespace fathom {

// Where tensors are read: where the checkpoint is mapped, which leaves them in the system's cache for the
// next start, or from a stream past it (checkpoint/tensor_stream.h).
enum class WeightReading : uint8_t { kMapped, kStreamed };
// kStreamed where memory does not hold the files beside the packed weights: what is cached would be thrown
// out before it is used again, and keep the system from giving large pages to the weights. Never where slices
// are cut out of a whole model: ranks share the cache, and a stream reads whole tensors. ranks_here: of this
// node, which load at the same time.
WeightReading choose_reading(const Checkpoint& checkpoint, const Sharding& sharding, int64_t ranks_here);

class WeightLoader {
 public:
  // All are borrowed; progress may be null. Precondition: check_weights(), check_sharding() and
  // check_sliced_groups() passed.
  WeightLoader(Backend& backend, const Checkpoint& checkpoint, const QuantDescription& description,
               const ModelConfig& config, const Sharding& sharding, WeightReading reading,
               ProgressSink* progress);

  // Errors name the tensor.
  Result<ModelWeights> load();

 private:
  // Layer and expert of the weight being loaded; -1: none.
  struct Place {
    int64_t layer = -1;
    int64_t expert = -1;
  };
  // A tensor that will be loaded: the bytes [begin, end) of it that will be read, and how many will be
  // packed.
  struct Ahead {
    std::string name;
    size_t begin = 0;
    size_t end = 0;
    uint64_t packed_bytes = 0;
  };

  void plan_reading();
  void plan_cut(const WeightSpec& spec);
  // Has the system read what will be loaded next while this process packs.
  void read_ahead();
  // Whether slices have to be cut out of the checkpoint's tensors.
  bool cuts() const { return sharding_.is_sliced() && checkpoint_.rank_part() == nullptr; }
  bool has(WeightRole role, Place place) const;
  Result<WeightWindow> window(WeightRole role, Place place, IndexRange slices);
  void finish(const WeightWindow& window);
  // Without slices: those of this rank.
  Status load_matrix(WeightRole role, Place place, Weight& weight);
  Status load_matrix(WeightRole role, Place place, IndexRange slices, Weight& weight);
  Status load_vector(WeightRole role, Place place, VectorWeight& weight);  // absent where the model has none
  Status load_mlp(WeightRole gate, WeightRole up, WeightRole down, Place place, IndexRange slice,
                  MlpWeights& weights);
  Status load_kv_b(Place place, KvBWeights& weights);
  Status load_attention(Place place, AttentionWeights& weights);
  Status load_network(int64_t layer_index, IndexRange slice, NetworkSlice& network);
  Status load_layer(int64_t layer_index, LayerWeights& layer);
  Status load_embedding(EmbeddingTable& weight);

  Backend& backend_;
  const Checkpoint& checkpoint_;
  const QuantDescription& description_;
  const ModelConfig& config_;
  const Sharding sharding_;
  ProgressSink* progress_;
  std::unordered_map<std::string, WeightSpec> specs_;  // by name
  std::vector<Ahead> ahead_;                           // about in the order of loading
  std::unique_ptr<TensorStream> stream_;               // null: kMapped
  size_t num_ahead_ = 0;                               // of them asked for
  uint64_t ahead_bytes_ = 0;
  uint64_t done_bytes_ = 0;
  uint64_t total_bytes_ = 0;
};

}  // namespace fathom
