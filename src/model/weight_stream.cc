#include "model/weight_stream.h"

#include <algorithm>
#include <unordered_map>

namespace fathom {
namespace {

// Large enough for a fast disk and for a team's start to cost nothing, small beside the memory of any
// machine.
constexpr int64_t kPieceBytes = int64_t{16} << 20;

using enum StoredTensor::Content;

}  // namespace

WeightStream::WeightStream(const StoredLayout& layout, const StreamOptions& options, ProgressSink* progress)
    : layout_(layout), progress_(progress), team_(options.num_threads), total_bytes_(layout.data_bytes()) {
  for (int i = 0; i < team_.size(); ++i) {
    scratch_.push_back({RowRounder(options.int8_rounding, layout.group_size),
                        RowRounder(options.int4_rounding, layout.group_size),
                        {}});
  }
}

Status WeightStream::write_shard(const PlannedShard& shard, ShardWriter& writer, OpenValues open,
                                 RowsDone rows_done) {
  writer_ = &writer;
  std::unordered_map<size_t, Places> places;  // by weight; scales lie elsewhere in the file
  for (size_t i = 0; i < shard.tensors.size(); ++i) {
    const StoredTensor& tensor = shard.tensors[i];
    Places& of_weight = places[tensor.weight];
    if (tensor.content == kWeight) of_weight.weight = i;
    if (tensor.content == kScale) of_weight.scale = i;
    if (tensor.content == kFactors) of_weight.factors = i;
    if (tensor.content == kOffset) {
      const std::vector<float> zeros(static_cast<size_t>(tensor.declaration.shape[0]));
      FATHOM_RETURN_IF_ERROR(put_copy(i, std::as_bytes(std::span(zeros))));
    }
  }
  for (const StoredTensor& tensor : shard.tensors) {
    if (tensor.content != kWeight) continue;
    const PlannedWeight& weight = layout_.weights[tensor.weight];
    const Places& of_weight = places.at(tensor.weight);
    FATHOM_ASSIGN_OR_RETURN(const std::unique_ptr<WeightValues> values, open(tensor.weight));
    FATHOM_RETURN_IF_ERROR(weight.type == QuantType::kFloat
                               ? write_float(weight, of_weight.weight, *values)
                               : write_rounded(tensor.weight, of_weight, *values, rows_done));
  }
  return ok_status();
}

void WeightStream::skip_shard(const PlannedShard& shard) { done_bytes_ += shard.num_bytes; }

Status WeightStream::write_float(const PlannedWeight& weight, size_t place, const WeightValues& values) {
  const auto element_bytes = static_cast<int64_t>(dtype_bytes(weight.dtype));
  const int64_t num_elements = weight.shape.num_elements();
  for (int64_t begin = 0; begin < num_elements; begin += kPieceBytes / element_bytes) {
    const int64_t count = std::min(num_elements - begin, kPieceBytes / element_bytes);
    std::vector<std::byte> piece = writer_->take_buffer();
    piece.resize(static_cast<size_t>(count * element_bytes));
    team_.run([&](int thread) {
      const IndexRange share = static_share(count, 4096, thread, team_.size());
      if (share.size() > 0)
        values.copy(begin + share.begin, begin + share.end, piece.data() + share.begin * element_bytes);
    });
    FATHOM_RETURN_IF_ERROR(put(place, std::move(piece)));
  }
  return ok_status();
}

// In pieces of whole rows, for a row has one scale.
Status WeightStream::write_rounded(size_t index, const Places& places, const WeightValues& values,
                                   RowsDone rows_done) {
  const PlannedWeight& weight = layout_.weights[index];
  const int64_t num_rows = weight.shape[0];
  const int64_t row_size = weight.shape[1];
  const bool int4 = is_int4(weight.type);
  const int64_t row_bytes = int4 ? row_size / 2 : row_size;
  const int64_t row_groups = int4 ? (row_size + layout_.group_size - 1) / layout_.group_size : 0;
  const int64_t piece_rows = std::max<int64_t>(kPieceBytes / row_size, 1);
  std::vector<float> scales(static_cast<size_t>(num_rows));
  std::vector<uint8_t> factors(static_cast<size_t>(num_rows * row_groups));
  std::vector<RowError> errors(static_cast<size_t>(num_rows));
  for (int64_t begin = 0; begin < num_rows; begin += piece_rows) {
    const int64_t count = std::min(num_rows - begin, piece_rows);
    std::vector<std::byte> piece = writer_->take_buffer();
    piece.resize(static_cast<size_t>(count * row_bytes));
    team_.run([&](int thread) {
      const IndexRange share = static_share(count, 1, thread, team_.size());
      for (int64_t i = share.begin; i < share.end; ++i) {
        const RowOutput out{piece.data() + i * row_bytes, factors.data() + (begin + i) * row_groups,
                            scales.data() + begin + i};
        errors[static_cast<size_t>(begin + i)] = round_row(weight, values, begin + i, out, thread);
      }
    });
    FATHOM_RETURN_IF_ERROR(put(places.weight, std::move(piece)));
  }
  FATHOM_RETURN_IF_ERROR(rows_done(index, values, errors));
  if (int4) FATHOM_RETURN_IF_ERROR(put_copy(places.factors, std::as_bytes(std::span(factors))));
  return put_copy(places.scale, std::as_bytes(std::span(scales)));
}

RowError WeightStream::round_row(const PlannedWeight& weight, const WeightValues& values, int64_t row,
                                 const RowOutput& out, int thread) {
  ThreadScratch& scratch = scratch_[static_cast<size_t>(thread)];
  scratch.row.resize(static_cast<size_t>(weight.shape[1]));
  values.read_row(row, scratch.row);
  if (is_int4(weight.type))
    return scratch.int4.to_int4(scratch.row, reinterpret_cast<uint8_t*>(out.bytes), out.factors, *out.scale);
  return scratch.int8.to_int8(scratch.row, reinterpret_cast<int8_t*>(out.bytes), *out.scale);
}

Status WeightStream::put_copy(size_t place, std::span<const std::byte> bytes) {
  std::vector<std::byte> buffer = writer_->take_buffer();
  buffer.assign(bytes.begin(), bytes.end());
  return put(place, std::move(buffer));
}

Status WeightStream::put(size_t place, std::vector<std::byte> bytes) {
  done_bytes_ += bytes.size();
  FATHOM_RETURN_IF_ERROR(writer_->write(place, std::move(bytes)));
  if (progress_ != nullptr) progress_->report("writing", done_bytes_, total_bytes_);
  return ok_status();
}

}  // namespace fathom
