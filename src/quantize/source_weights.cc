#include "quantize/source_weights.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/float16.h"

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
  // view's data is the stream's.
  SourceValues(TensorStream& stream, std::string name, const TensorView& view)
      : stream_(stream), name_(std::move(name)), view_(view) {}
  ~SourceValues() override { stream_.give_back(name_); }

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

 private:
  TensorStream& stream_;
  std::string name_;
  TensorView view_;
};

}  // namespace

void SourceWeights::begin_at(size_t weight) {
  std::vector<size_t> order;
  for (const PlannedShard& shard : layout_.shards) {
    for (const StoredTensor& tensor : shard.tensors) {
      if (tensor.content == StoredTensor::Content::kWeight) order.push_back(tensor.weight);
    }
  }
  std::vector<std::string> names;
  for (auto place = std::find(order.begin(), order.end(), weight); place != order.end(); ++place) {
    names.push_back(layout_.weights[*place].name);
  }
  stream_ = std::make_unique<TensorStream>(checkpoint_, std::move(names), kReadAheadBytes);
}

Result<std::unique_ptr<WeightValues>> SourceWeights::open(size_t weight) {
  if (stream_ == nullptr) begin_at(weight);
  const std::string& name = layout_.weights[weight].name;
  FATHOM_ASSIGN_OR_RETURN(TensorView view, checkpoint_.tensor(name));
  FATHOM_ASSIGN_OR_RETURN(view.data, stream_->take(name));
  return std::unique_ptr<WeightValues>(std::make_unique<SourceValues>(*stream_, name, view));
}

}  // namespace fathom
