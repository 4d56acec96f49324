#include "engine/row_reader.h"

#include <algorithm>

namespace fathom {

// A query for each draw that can do with one, else its row.
void RowReader::ask(std::span<const RowDraw> draws) {
  constexpr auto kMaxHead = static_cast<size_t>(kernels::kMaxHead);
  queries_.clear();
  known_.clear();
  rows_.clear();
  for (size_t row = 0; row < draws.size(); ++row) {
    const RowNeeds needs = needs_of(*draws[row].params, num_drawable_);
    const bool is_too_long = needs.head > kMaxHead && needs.head != RowNeeds::kAnyHead;
    if (draws[row].needs_logits || needs.whole || is_too_long) {
      rows_.push_back(static_cast<int64_t>(row));
      continue;
    }
    queries_.push_back({.row = static_cast<int64_t>(row),
                        .inverse_temperature = needs.inverse_temperature,
                        .u = needs.draws_from_all ? draws[row].u : -1,
                        .head = static_cast<int32_t>(std::min(needs.head, kMaxHead))});
    known_.push_back({.row = row, .token_id = {}});
  }
}

// Draws from the records, on all threads.
void RowReader::settle(std::span<const RowDraw> draws, const Examined& examined) {
  workspaces_.resize(static_cast<size_t>(backend_.num_host_threads()));
  backend_.share_out(std::ssize(known_), [&](int thread, int64_t i) {
    Known& known = known_[static_cast<size_t>(i)];
    const kernels::RowQuery& query = queries_[static_cast<size_t>(i)];
    const kernels::RowRecord& record = examined.records[static_cast<size_t>(i)];
    if (record.peak_id < 0) return;  // the row says why
    RowFacts facts{.peak_id = record.peak_id,
                   .peak = record.peak,
                   .head = {examined.heads + i * examined.head_stride, static_cast<size_t>(record.num_head)},
                   .head_has_all = record.has_all != 0,
                   .total = {},
                   .drawn_id = {}};
    if (query.inverse_temperature > 0) facts.total = record.total;
    if (query.u >= 0) facts.drawn_id = record.drawn_id;
    const RowDraw& draw = draws[known.row];
    known.token_id =
        sample(facts, *draw.params, num_drawable_, draw.u, workspaces_[static_cast<size_t>(thread)]);
  });
}

void RowReader::take_rows(const float* rows) {
  for (size_t i = 0; i < rows_.size(); ++i)
    drawn_[static_cast<size_t>(rows_[i])].logits = {rows + static_cast<int64_t>(i) * vocab_size_,
                                                    num_drawable_};
}

Result<std::span<const DrawnRow>> RowReader::read_all(const float* logits) {
  const size_t bytes = drawn_.size() * static_cast<size_t>(vocab_size_) * sizeof(float);
  FATHOM_ASSIGN_OR_RETURN(const void* values, backend_.read_back(logits, bytes, room_));
  rows_.resize(drawn_.size());
  for (size_t row = 0; row < rows_.size(); ++row) rows_[row] = static_cast<int64_t>(row);
  take_rows(static_cast<const float*>(values));
  return std::span<const DrawnRow>(drawn_);
}

Result<std::span<const DrawnRow>> RowReader::read(const float* logits, std::span<const RowDraw> draws) {
  drawn_.assign(draws.size(), {});
  ask(draws);
  ExamineOp op{.logits = logits,
               .stride = vocab_size_,
               .width = static_cast<int64_t>(num_drawable_),
               .queries = queries_,
               .rows = rows_};
  FATHOM_ASSIGN_OR_RETURN(std::optional<Examined> examined, backend_.examine(op));
  if (!examined) return read_all(logits);
  settle(draws, *examined);
  const size_t num_rows = rows_.size();
  for (const Known& known : known_) {
    if (known.token_id) {
      drawn_[known.row].token_id = *known.token_id;
    } else {
      rows_.push_back(static_cast<int64_t>(known.row));
    }
  }
  // Again all rows, where more are wanted after all: what was brought before makes room for it.
  if (rows_.size() > num_rows) {
    op.queries = {};
    op.rows = rows_;
    FATHOM_ASSIGN_OR_RETURN(examined, backend_.examine(op));
  }
  take_rows(examined->rows);
  return std::span<const DrawnRow>(drawn_);
}

}  // namespace fathom
