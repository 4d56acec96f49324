#include "engine/runner.h"

#include <algorithm>

#include "base/check.h"

namespace fathom {

Runner::Runner(Backend& backend, DeepseekV2& model, const LatentCache& cache)
    : backend_(backend), model_(model), cache_(cache) {
  logits_.resize(static_cast<size_t>(model.options().max_logits_rows * model.config().vocab_size));
}

void Runner::lay_out(std::span<const SegmentInput> segments) {
  const int64_t block_size = cache_.options().block_size;
  token_ids_.clear();
  positions_.clear();
  slots_.clear();
  starts_.assign(1, 0);
  forms_.clear();
  page_tables_.clear();
  page_table_starts_.assign(1, 0);
  logits_rows_.clear();
  for (const SegmentInput& segment : segments) {
    FATHOM_CHECK(segment.begin < segment.end, "[{}, {})", segment.begin, segment.end);
    const bool is_prompt = segment.end <= segment.prompt_len;
    FATHOM_CHECK(is_prompt || segment.begin >= segment.prompt_len,
                 "segment [{}, {}) crosses the prompt's end {}", segment.begin, segment.end,
                 segment.prompt_len);
    for (int64_t position = segment.begin; position < segment.end; ++position) {
      const int64_t page = segment.pages[static_cast<size_t>(position / block_size)];
      if (position >= segment.end - segment.num_logits)
        logits_rows_.push_back(static_cast<int32_t>(token_ids_.size()));
      token_ids_.push_back(segment.tokens[static_cast<size_t>(position)]);
      positions_.push_back(static_cast<int32_t>(position));
      slots_.push_back(page * block_size + position % block_size);
    }
    starts_.push_back(static_cast<int32_t>(token_ids_.size()));
    const bool expanded = is_prompt && segment.prompt_len >= expanded_prompt_tokens_;
    forms_.push_back(expanded ? AttentionForm::kExpanded : AttentionForm::kAbsorbed);
    page_tables_.insert(page_tables_.end(), segment.pages.begin(), segment.pages.end());
    page_table_starts_.push_back(static_cast<int32_t>(page_tables_.size()));
  }
}

Batch Runner::batch(std::span<const int32_t> logits_rows) const {
  return {.token_ids = token_ids_,
          .positions = positions_,
          .slots = slots_,
          .starts = starts_,
          .forms = forms_,
          .page_tables = page_tables_,
          .page_table_starts = page_table_starts_,
          .logits_rows = logits_rows};
}

Result<std::span<const float>> Runner::download(const float* logits, size_t num_rows) {
  const size_t count = num_rows * static_cast<size_t>(model_.config().vocab_size);
  FATHOM_RETURN_IF_ERROR(backend_.download(logits, logits_.data(), count * sizeof(float)));
  return std::span<const float>(logits_.data(), count);
}

Result<std::span<const float>> Runner::run(std::span<const SegmentInput> segments) {
  lay_out(segments);
  FATHOM_ASSIGN_OR_RETURN(const float* logits, model_.forward(batch(logits_rows_), cache_));
  return download(logits, logits_rows_.size());
}

Status Runner::more_logits(std::span<const int32_t> rows, RowSink sink) {
  const auto most = static_cast<size_t>(model_.options().max_logits_rows);
  for (size_t first = 0; first < rows.size(); first += most) {
    const auto part = rows.subspan(first, std::min(most, rows.size() - first));
    FATHOM_ASSIGN_OR_RETURN(const float* logits, model_.more_logits(batch(part)));
    FATHOM_ASSIGN_OR_RETURN(const std::span<const float> values, download(logits, part.size()));
    sink(first, values);
  }
  return ok_status();
}

}  // namespace fathom
