// Which tensors of which file a set of weights becomes: int8 and int4 weights with their scales
// (docs/quantization.md), files cut by size. What synthesis and quantisation write.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/quantization.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/shard_index.h"
#include "tensor/view.h"

namespace fathom {

struct PlannedWeight {
  std::string name;
  Shape shape;
  DType dtype = DType::kBFloat16;  // floating: of the values, and of the file where type is kFloat
  QuantType type = QuantType::kFloat;
};

// One tensor of a file.
struct StoredTensor {
  enum class Content : uint8_t { kWeight, kScale, kFactors, kOffset };
  TensorDeclaration declaration;
  size_t weight = 0;  // index of the planned weight
  Content content = Content::kWeight;

  uint64_t num_bytes() const { return declaration.num_bytes(); }
};

struct PlannedShard {
  std::string file_name;
  std::vector<StoredTensor> tensors;  // in the order of the file; those of one weight lie in one file
  uint64_t num_bytes = 0;             // of data

  std::vector<TensorDeclaration> declarations() const;
};

struct StoredLayout {
  std::vector<PlannedWeight> weights;
  std::vector<PlannedShard> shards;
  std::string stem;
  int64_t group_size = 0;

  uint64_t data_bytes() const;
  uint64_t file_bytes() const;  // with headers
};

struct LayoutOptions {
  std::string
      stem;  // "model", "quant_model_weights": files are STEM.safetensors or STEM-00001-of-00002.safetensors
  uint64_t shard_bytes = uint64_t{5} << 30;  // a shard is full before a weight would take it over this
  int64_t group_size = 64;                   // of int4
};

// Refused, naming it: an int4 weight with an odd number of inputs.
Result<StoredLayout> plan_layout(std::vector<PlannedWeight> weights, const LayoutOptions& options);

// The index of several files: its name and its content.
std::string index_file_name(const StoredLayout& layout);
ShardIndex shard_index(const StoredLayout& layout);
// The description's entry of every tensor, in the order of the files.
std::vector<QuantEntry> quant_entries(const StoredLayout& layout);

// "quant_model_weight_w8a16", or "model" for floating weights.
std::string default_stem(std::optional<QuantType> type);

}  // namespace fathom
