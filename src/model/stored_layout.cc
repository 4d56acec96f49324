#include "model/stored_layout.h"

#include <algorithm>

#include "model/stored_weight.h"

namespace fathom {
namespace {

using enum StoredTensor::Content;

// The tensors that one weight is stored as.
Result<std::vector<StoredTensor>> stored_tensors(const PlannedWeight& weight, size_t index,
                                                 int64_t group_size) {
  if (weight.type == QuantType::kFloat)
    return std::vector<StoredTensor>{{{weight.name, weight.dtype, weight.shape}, index, kWeight}};
  const int64_t rows = weight.shape[0];
  const int64_t cols = weight.shape[1];
  std::vector<StoredTensor> tensors;
  if (is_int4(weight.type)) {
    if (cols % 2 != 0) {
      return unsupported("tensor \"{}\" has {} inputs: {} needs an even number, store it as int8 or floating",
                         weight.name, cols, quant_type_option(weight.type));
    }
    const Shape factors = {rows, num_groups(cols, group_size)};
    tensors.push_back({{weight.name, DType::kUint8, {rows, cols / 2}}, index, kWeight});
    tensors.push_back({{factors_name(weight.name), DType::kUint8, factors}, index, kFactors});
  } else {
    tensors.push_back({{weight.name, DType::kInt8, weight.shape}, index, kWeight});
  }
  tensors.push_back({{scale_name(weight.name), DType::kFloat32, {rows, 1}}, index, kScale});
  if (!is_int4(weight.type))
    tensors.push_back({{offset_name(weight.name), DType::kFloat32, {rows, 1}}, index, kOffset});
  return tensors;
}

}  // namespace

std::vector<TensorDeclaration> PlannedShard::declarations() const {
  std::vector<TensorDeclaration> list;
  for (const StoredTensor& tensor : tensors) list.push_back(tensor.declaration);
  return list;
}

uint64_t StoredLayout::data_bytes() const {
  uint64_t sum = 0;
  for (const PlannedShard& shard : shards) sum += shard.num_bytes;
  return sum;
}

uint64_t StoredLayout::file_bytes() const {
  uint64_t sum = 0;
  for (const PlannedShard& shard : shards) sum += SafetensorsWriter::file_bytes(shard.declarations());
  return sum;
}

Result<StoredLayout> plan_layout(std::vector<PlannedWeight> weights, const LayoutOptions& options) {
  StoredLayout layout{
      .weights = std::move(weights), .shards = {}, .stem = options.stem, .group_size = options.group_size};
  auto& shards = layout.shards;
  for (size_t i = 0; i < layout.weights.size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(std::vector<StoredTensor> tensors,
                            stored_tensors(layout.weights[i], i, options.group_size));
    uint64_t size = 0;
    for (const StoredTensor& tensor : tensors) size += tensor.num_bytes();
    if (shards.empty() || shards.back().num_bytes + size > options.shard_bytes) shards.emplace_back();
    shards.back().num_bytes += size;
    std::move(tensors.begin(), tensors.end(), std::back_inserter(shards.back().tensors));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string number = shards.size() == 1 ? "" : fmt::format("-{:05}-of-{:05}", i + 1, shards.size());
    shards[i].file_name = fmt::format("{}{}.safetensors", options.stem, number);
    // Larger elements first, so that each tensor is aligned behind bytes of odd sizes.
    std::stable_sort(shards[i].tensors.begin(), shards[i].tensors.end(), [](const auto& a, const auto& b) {
      return dtype_bytes(a.declaration.dtype) > dtype_bytes(b.declaration.dtype);
    });
  }
  return layout;
}

std::string index_file_name(const StoredLayout& layout) {
  return fmt::format("{}.safetensors.index.json", layout.stem);
}

ShardIndex shard_index(const StoredLayout& layout) {
  ShardIndex index;
  for (const PlannedShard& shard : layout.shards) {
    for (const StoredTensor& tensor : shard.tensors)
      index.locations.push_back({tensor.declaration.name, static_cast<uint32_t>(index.files.size())});
    index.files.push_back(shard.file_name);
  }
  return index;
}

std::vector<QuantEntry> quant_entries(const StoredLayout& layout) {
  std::vector<QuantEntry> entries;
  for (const PlannedShard& shard : layout.shards) {
    for (const StoredTensor& tensor : shard.tensors)
      entries.push_back({tensor.declaration.name, layout.weights[tensor.weight].type});
  }
  return entries;
}

std::string default_stem(std::optional<QuantType> type) {
  return type ? fmt::format("quant_model_weight_{}", quant_type_name(*type)) : "model";
}

}  // namespace fathom
