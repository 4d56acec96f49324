// What the host wants to know of logits: outside of steps, so that nothing of it is in a graph.
#include <algorithm>
#include <cstring>

#include "device/cuda/cuda_backend.h"

namespace fathom {
namespace {

using kernels::RowQuery;
using kernels::RowRecord;

// Arrays one after another in memory that is aligned for all of them.
class Layout {
 public:
  // Where `count` values are, as bytes from the beginning.
  template <typename T>
  size_t add(int64_t count) {
    const size_t begin = size_;
    size_ += (static_cast<size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return begin;
  }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kAlignment = 16;
  size_t size_ = 0;
};

// What comes back of num_rows queries, one copy.
struct AnswerLayout {
  AnswerLayout(int64_t num_rows, int64_t head_stride)
      : records(layout.add<RowRecord>(num_rows)), heads(layout.add<uint64_t>(num_rows * head_stride)) {}
  Layout layout;
  size_t records;
  size_t heads;
};

}  // namespace

// Has the records and heads of the queries written to `answers`, pinned memory.
Status CudaBackend::make_records(const ExamineOp& op, int64_t head_stride, std::byte* answers) {
  const int64_t num_rows = std::ssize(op.queries);
  const int64_t num_groups = kernels::cuda::num_sum_groups(op.width);
  const AnswerLayout answer(num_rows, head_stride);
  Layout layout = answer.layout;
  const size_t queries = layout.add<RowQuery>(num_rows);
  const size_t block_peaks = layout.add<uint32_t>(num_rows * num_groups * kBlocksPerGroup);
  const size_t group_peaks = layout.add<uint32_t>(num_rows * num_groups);
  const size_t group_sums = layout.add<double>(num_rows * num_groups);
  FATHOM_ASSIGN_OR_RETURN(std::byte* const data, examining_.reserve(layout.size()));
  FATHOM_ASSIGN_OR_RETURN(std::byte* const staged, staged_queries_.reserve(op.queries.size_bytes()));
  std::memcpy(staged, op.queries.data(), op.queries.size_bytes());
  FATHOM_RETURN_IF_ERROR(
      device_.upload_later(staged, data + queries, op.queries.size_bytes(), device_.stream));
  const bool wants_sums = std::any_of(op.queries.begin(), op.queries.end(),
                                      [](const RowQuery& query) { return query.inverse_temperature > 0; });
  launched(device_.kernels.logit_rows({.logits = op.logits,
                                       .queries = reinterpret_cast<const RowQuery*>(data + queries),
                                       .records = reinterpret_cast<RowRecord*>(data + answer.records),
                                       .heads = reinterpret_cast<uint64_t*>(data + answer.heads),
                                       .block_peaks = reinterpret_cast<uint32_t*>(data + block_peaks),
                                       .group_peaks = reinterpret_cast<uint32_t*>(data + group_peaks),
                                       .group_sums = reinterpret_cast<double*>(data + group_sums),
                                       .stride = op.stride,
                                       .width = op.width,
                                       .head_stride = head_stride,
                                       .num_rows = num_rows,
                                       .wants_sums = wants_sums},
                                      device_.stream),
           "logit_rows");
  FATHOM_RETURN_IF_ERROR(failure_);
  return device_.download_later(data, answers, answer.layout.size(), device_.stream);
}

// Has the rows written to `rows`, pinned memory; those that are neighbours by one copy.
Status CudaBackend::bring_rows(const ExamineOp& op, std::byte* rows) {
  const size_t row_bytes = static_cast<size_t>(op.stride) * sizeof(float);
  for (size_t begin = 0, end = 0; begin < op.rows.size(); begin = end) {
    while (end < op.rows.size() && op.rows[end] - op.rows[begin] == static_cast<int64_t>(end - begin)) ++end;
    FATHOM_RETURN_IF_ERROR(device_.download_later(op.logits + op.rows[begin] * op.stride,
                                                  rows + begin * row_bytes, (end - begin) * row_bytes,
                                                  device_.stream));
  }
  return ok_status();
}

Result<std::optional<Examined>> CudaBackend::examine(const ExamineOp& op) {
  FATHOM_RETURN_IF_ERROR(failure_);
  FATHOM_RETURN_IF_ERROR(graphs_.interrupt());
  int64_t head_stride = 0;
  for (const RowQuery& query : op.queries) head_stride = std::max<int64_t>(head_stride, query.head);
  const AnswerLayout answer(std::ssize(op.queries), head_stride);
  Layout layout = answer.layout;
  const size_t rows = layout.add<float>(std::ssize(op.rows) * op.stride);
  FATHOM_ASSIGN_OR_RETURN(std::byte* const room, read_room_.reserve(layout.size()));
  if (!op.queries.empty()) FATHOM_RETURN_IF_ERROR(make_records(op, head_stride, room));
  FATHOM_RETURN_IF_ERROR(bring_rows(op, room + rows));
  FATHOM_RETURN_IF_ERROR(wait());
  is_in_flight_ = false;
  const Examined examined{
      .records = {reinterpret_cast<const RowRecord*>(room + answer.records), op.queries.size()},
      .heads = reinterpret_cast<const uint64_t*>(room + answer.heads),
      .head_stride = head_stride,
      .rows = reinterpret_cast<const float*>(room + rows)};
  return std::optional(examined);
}

}  // namespace fathom
