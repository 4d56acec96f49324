#include "quantize/source_weights.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/float16.h"
#include "base/memory_info.h"

namespace fathom {
namespace {

// How far reading runs ahead: enough for a fast disk's queue.
constexpr uint64_t kReadAheadBytes = uint64_t{256} << 20;

template <typename T>
void convert(const void* data, int64_t begin, std::span<float> out) {
  const T* const from = static_cast<const T*>(data) + begin;
  float* const to = out.data();
  for (size_t i = 0; i < out.size(); ++i) to[i] = to_float(from[i]);
}

class SourceValues : public WeightValues {
 public:
  SourceValues(const Checkpoint& checkpoint, std::string name, MappedFile::FileCache file_cache)
      : checkpoint_(checkpoint), name_(std::move(name)), file_cache_(file_cache) {
    const auto view = checkpoint.tensor(name_);
    FATHOM_CHECK(view.ok(), "{}", view.status().message());
    view_ = *view;
  }

  void copy(int64_t begin, int64_t end, std::byte* out) const override {
    const auto size = static_cast<int64_t>(dtype_bytes(view_.dtype));
    std::memcpy(out, static_cast<const std::byte*>(view_.data) + begin * size,
                static_cast<size_t>((end - begin) * size));
  }

  void read_row(int64_t row, std::span<float> out) const override {
    const int64_t begin = row * view_.shape[1];
    switch (view_.dtype) {
      case DType::kBFloat16:
        return convert<BFloat16>(view_.data, begin, out);
      case DType::kFloat16:
        return convert<Float16>(view_.data, begin, out);
      case DType::kFloat32:
        return convert<float>(view_.data, begin, out);
      default:
        FATHOM_CHECK(false, "dtype {}", dtype_name(view_.dtype));
    }
  }

  void release(int64_t begin, int64_t end) const override {
    const uint64_t size = dtype_bytes(view_.dtype);
    checkpoint_.release(name_, static_cast<uint64_t>(begin) * size, static_cast<uint64_t>(end) * size,
                        file_cache_);
  }

 private:
  const Checkpoint& checkpoint_;
  std::string name_;
  MappedFile::FileCache file_cache_;
  TensorView view_;
};

}  // namespace

SourceWeights::SourceWeights(const Checkpoint& checkpoint, const StoredLayout& layout)
    : checkpoint_(checkpoint), layout_(layout) {
  for (const PlannedShard& shard : layout.shards) {
    for (const StoredTensor& tensor : shard.tensors) {
      if (tensor.content == StoredTensor::Content::kWeight) order_.push_back(tensor.weight);
    }
  }
  const auto available = read_memory_info().available();
  if (available && *available < 2 * checkpoint.data_bytes()) file_cache_ = MappedFile::FileCache::kDrop;
}

std::unique_ptr<WeightValues> SourceWeights::open(size_t weight) {
  const auto bytes_of = [this](size_t index) {
    return checkpoint_.tensor(layout_.weights[index].name)->num_bytes();
  };
  // What is in front of the first weight is in files that are there already.
  if (opened_bytes_ == 0)
    num_ahead_ = static_cast<size_t>(std::find(order_.begin(), order_.end(), weight) - order_.begin());
  opened_bytes_ += bytes_of(weight);
  for (; num_ahead_ < order_.size() && ahead_bytes_ < opened_bytes_ + kReadAheadBytes; ++num_ahead_) {
    checkpoint_.prefetch(layout_.weights[order_[num_ahead_]].name);
    ahead_bytes_ += bytes_of(order_[num_ahead_]);
  }
  return std::make_unique<SourceValues>(checkpoint_, layout_.weights[weight].name, file_cache_);
}

}  // namespace fathom
