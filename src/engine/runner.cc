#include "engine/runner.h"

#include <algorithm>

#include "base/check.h"
#include "base/clock.h"

namespace fathom {

Runner::Runner(Backend& backend, DeepseekV2& model, LatentCache& cache, Communicator* communicator)
    : backend_(backend), model_(model), cache_(cache), communicator_(communicator) {}

Runner::~Runner() {
  if (communicator_ == nullptr || communicator_->rank() != 0 || failed_) return;
  // A rank that is lost by now needs no order, and nobody is left to be told of it.
  order_.kind = StepOrder::Kind::kEnd;
  (void)send_order(*communicator_, order_);
}

// Home by home. The wanted rows are in segment order, as the caller gets them.
void Runner::lay_out(std::span<const SegmentInput> segments) {
  order_.token_ids.clear();
  order_.positions.clear();
  order_.slots.clear();
  order_.starts.assign(1, 0);
  order_.forms.clear();
  order_.page_tables.clear();
  order_.page_table_starts.assign(1, 0);
  order_.logits_rows.clear();
  order_.home_starts.assign(1, 0);
  segment_rows_.resize(segments.size());
  for (int64_t home = 0; home < model_.options().sharding.num_homes(); ++home) {
    for (size_t i = 0; i < segments.size(); ++i) {
      if (segments[i].home != home) continue;
      segment_rows_[i] = order_.starts.back();
      lay_out(segments[i]);
    }
    order_.home_starts.push_back(static_cast<int32_t>(order_.forms.size()));
  }
  batch_rows_.clear();
  for (size_t i = 0; i < segments.size(); ++i) {
    const auto num_rows = static_cast<int32_t>(segments[i].end - segments[i].begin);
    for (int32_t row = 0; row < num_rows; ++row) {
      batch_rows_.push_back(segment_rows_[i] + row);
      if (row >= num_rows - segments[i].num_logits) order_.logits_rows.push_back(batch_rows_.back());
    }
  }
}

void Runner::lay_out(const SegmentInput& segment) {
  const int64_t block_size = cache_.options().block_size;
  FATHOM_CHECK(segment.begin < segment.end, "[{}, {})", segment.begin, segment.end);
  const bool is_prompt = segment.end <= segment.prompt_len;
  FATHOM_CHECK(is_prompt || segment.begin >= segment.prompt_len,
               "segment [{}, {}) crosses the prompt's end {}", segment.begin, segment.end,
               segment.prompt_len);
  for (int64_t position = segment.begin; position < segment.end; ++position) {
    const int64_t page = segment.pages[static_cast<size_t>(position / block_size)];
    const auto index = static_cast<size_t>(position);
    order_.token_ids.push_back(index < segment.tokens.size() ? segment.tokens[index]
                                                             : segment.drafts[index - segment.tokens.size()]);
    order_.positions.push_back(static_cast<int32_t>(position));
    order_.slots.push_back(page * block_size + position % block_size);
  }
  order_.starts.push_back(static_cast<int32_t>(order_.token_ids.size()));
  const bool expanded = is_prompt && segment.prompt_len >= expanded_prompt_tokens_;
  order_.forms.push_back(expanded ? AttentionForm::kExpanded : AttentionForm::kAbsorbed);
  order_.page_tables.insert(order_.page_tables.end(), segment.pages.begin(), segment.pages.end());
  order_.page_table_starts.push_back(static_cast<int32_t>(order_.page_tables.size()));
}

Result<std::span<const float>> Runner::read_back(const float* logits, size_t num_rows) {
  const size_t count = num_rows * static_cast<size_t>(model_.config().vocab_size);
  FATHOM_ASSIGN_OR_RETURN(const void* values, backend_.read_back(logits, count * sizeof(float), room_));
  return std::span(static_cast<const float*>(values), count);
}

Result<const float*> Runner::lead() {
  if (communicator_ != nullptr) {
    failed_ = true;  // until all has gone well
    FATHOM_RETURN_IF_ERROR(send_order(*communicator_, order_));
  }
  const double started = monotonic_seconds();
  Result<const float*> logits = carry_out();
  model_seconds_ += monotonic_seconds() - started;
  failed_ = !logits.ok();
  return logits;
}

Result<const float*> Runner::carry_out() {
  const Sharding& sharding = model_.options().sharding;
  for (const PageCopy& copy : order_.copies) {
    if (sharding.num_homes() > 1 && copy.home != sharding.rank) continue;
    FATHOM_RETURN_IF_ERROR(cache_.copy_page(backend_, copy.from, copy.to, copy.num_tokens));
  }
  order_.copies.clear();
  if (order_.kind == StepOrder::Kind::kMoreLogits) return model_.more_logits(order_.batch());
  return model_.forward(order_.batch(), cache_);
}

Status Runner::follow() {
  while (true) {
    FATHOM_RETURN_IF_ERROR(receive_order(*communicator_, order_));
    if (order_.kind == StepOrder::Kind::kEnd) return ok_status();
    FATHOM_RETURN_IF_ERROR(carry_out().status());
  }
}

Result<const float*> Runner::run(std::span<const SegmentInput> segments) {
  lay_out(segments);
  order_.kind = StepOrder::Kind::kRun;
  return lead();
}

Status Runner::more_logits(std::span<const int32_t> rows, RowSink sink) {
  const auto most = static_cast<size_t>(model_.options().max_logits_rows);
  order_.kind = StepOrder::Kind::kMoreLogits;
  for (size_t first = 0; first < rows.size(); first += most) {
    const auto part = rows.subspan(first, std::min(most, rows.size() - first));
    order_.logits_rows.clear();
    for (int32_t row : part) order_.logits_rows.push_back(batch_rows_[static_cast<size_t>(row)]);
    FATHOM_ASSIGN_OR_RETURN(const float* logits, lead());
    FATHOM_ASSIGN_OR_RETURN(const std::span<const float> values, read_back(logits, part.size()));
    sink(first, values);
  }
  return ok_status();
}

}  // namespace fathom
