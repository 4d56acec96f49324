#include "engine/prompt_scorer.h"

#include <cmath>
#include <limits>

#include "base/check.h"
#include "engine/engine_impl.h"
#include "sample/log_softmax.h"

namespace fathom {

Status PromptScorer::check(const PromptScoring& scoring, size_t prompt_len, int64_t vocab_size) {
  const auto length = static_cast<int64_t>(prompt_len);
  if (scoring.first && (*scoring.first < 1 || *scoring.first >= length)) {
    return invalid_argument("scoring: first is {}, outside [1, {}), the latter the prompt's length",
                            *scoring.first, length);
  }
  for (int32_t id : scoring.next_ids) {
    if (id < 0 || id >= vocab_size)
      return invalid_argument("scoring: token id {} is outside [0, {})", id, vocab_size);
  }
  return ok_status();
}

PromptScorer::PromptScorer(PromptScoring scoring, size_t prompt_len)
    : scoring_(std::move(scoring)), prompt_len_(static_cast<int64_t>(prompt_len)) {
  const double missing = std::numeric_limits<double>::quiet_NaN();
  // A row predicts the token after it; the prompt's last row predicts what follows the prompt.
  first_row_ = scoring_.first ? *scoring_.first - 1 : prompt_len_ - 1;
  end_row_ = scoring_.next_ids.empty() ? prompt_len_ - 1 : prompt_len_;
  if (scoring_.first) scores_.logprobs.assign(static_cast<size_t>(prompt_len_ - *scoring_.first), missing);
  scores_.next_logprobs.assign(scoring_.next_ids.size(), missing);
}

void PromptScorer::take(int64_t position, std::span<const int32_t> tokens, std::span<const float> logits) {
  FATHOM_CHECK(wants(position), "position {} of [{}, {})", position, first_row_, end_row_);
  if (!all_finite(logits)) {
    status_ = invalid_data("the logits after token {} of the prompt are not finite", position);
    return;
  }
  const LogSoftmax log_softmax(logits);
  const auto logprob = [&](int32_t id) { return log_softmax.of(logits[static_cast<size_t>(id)]); };
  if (position + 1 < prompt_len_) {
    scores_.logprobs[static_cast<size_t>(position - first_row_)] =
        logprob(tokens[static_cast<size_t>(position + 1)]);
    return;
  }
  for (size_t i = 0; i < scoring_.next_ids.size(); ++i) {
    scores_.next_logprobs[i] = logprob(scoring_.next_ids[i]);
  }
}

PromptScores PromptScorer::scores() && {
  for (double logprob : scores_.logprobs) FATHOM_CHECK(!std::isnan(logprob), "a position was not computed");
  for (double logprob : scores_.next_logprobs) FATHOM_CHECK(!std::isnan(logprob), "the end was not computed");
  return std::move(scores_);
}

namespace {

// A row of the batch that a request wants scored.
struct WantedRow {
  PromptScorer* scorer;
  int64_t position;
  std::span<const int32_t> tokens;
};

}  // namespace

// Further logits of the step for the requests that ask. A request whose logits are not finite fails with its
// first token.
Status Engine::Impl::score_prompts(const BatchPlan& plan) {
  std::vector<int32_t> rows;
  std::vector<WantedRow> wanted;
  int64_t row = 0;
  for (const Segment& segment : plan.segments) {
    const int64_t first_row = row - segment.begin;
    row += segment.end - segment.begin;
    std::optional<PromptScorer>& scorer = requests.at(segment.sequence_id).scorer;
    if (!scorer) continue;
    for (int64_t position = segment.begin; position < segment.end; ++position) {
      if (!scorer->wants(position)) continue;
      rows.push_back(static_cast<int32_t>(first_row + position));
      wanted.push_back({&*scorer, position, scheduler->find(segment.sequence_id)->tokens});
    }
  }
  if (rows.empty()) return ok_status();
  const auto width = static_cast<size_t>(config.vocab_size);
  FATHOM_RETURN_IF_ERROR(runner->more_logits(rows, [&](size_t first, std::span<const float> logits) {
    for (size_t i = 0; i * width < logits.size(); ++i) {
      const WantedRow& at = wanted[first + i];
      at.scorer->take(at.position, at.tokens, logits.subspan(i * width, width));
    }
  }));
  size_t sample = 0;
  for (const Segment& segment : plan.segments) {
    if (segment.num_logits == 0) continue;
    const std::optional<PromptScorer>& scorer = requests.at(segment.sequence_id).scorer;
    if (scorer && sample_status[sample].ok()) sample_status[sample] = scorer->status();
    ++sample;
  }
  return ok_status();
}

}  // namespace fathom
