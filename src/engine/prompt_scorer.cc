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
  if (scoring.num_top < 0 || scoring.num_top > kMaxLogprobs)
    return invalid_argument("scoring: num_top is {}, outside [0, {}]", scoring.num_top, kMaxLogprobs);
  for (int32_t id : scoring.next_ids) {
    if (id < 0 || id >= vocab_size)
      return invalid_argument("scoring: token id {} is outside [0, {})", id, vocab_size);
  }
  return ok_status();
}

int64_t PromptScorer::max_cached_tokens(const PromptScoring& scoring, int64_t prompt_len) {
  if (scoring.first) return *scoring.first - 1;
  return scoring.next_ids.empty() ? std::numeric_limits<int64_t>::max() : prompt_len - 1;
}

PromptScorer::PromptScorer(PromptScoring scoring, size_t prompt_len)
    : scoring_(std::move(scoring)), prompt_len_(static_cast<int64_t>(prompt_len)) {
  const double missing = std::numeric_limits<double>::quiet_NaN();
  // A row predicts the token after it; the prompt's last row predicts what follows the prompt.
  first_row_ = scoring_.first ? *scoring_.first - 1 : prompt_len_ - 1;
  end_row_ = scoring_.next_ids.empty() ? prompt_len_ - 1 : prompt_len_;
  if (scoring_.first) {
    const auto count = static_cast<size_t>(prompt_len_ - *scoring_.first);
    scores_.logprobs.assign(count, missing);
    scores_.ranks.assign(count, 0);
    if (scoring_.num_top > 0) scores_.top_logprobs.resize(count);
  }
  scores_.next_logprobs.assign(scoring_.next_ids.size(), missing);
}

namespace {

// 1 for the likeliest; of tokens equally likely the lower id comes first.
int64_t rank_of(std::span<const float> logits, int32_t id) {
  const auto place = static_cast<size_t>(id);
  const float logit = logits[place];
  int64_t rank = 1;
  for (size_t i = 0; i < place; ++i) rank += logits[i] >= logit ? 1 : 0;
  for (size_t i = place; i < logits.size(); ++i) rank += logits[i] > logit ? 1 : 0;
  return rank;
}

}  // namespace

void PromptScorer::take(int64_t position, std::span<const int32_t> tokens, std::span<const float> logits) {
  FATHOM_CHECK(wants(position), "position {} of [{}, {})", position, first_row_, end_row_);
  if (!all_finite(logits)) {
    status_ = invalid_data("the logits after token {} of the prompt are not finite", position);
    return;
  }
  if (position + 1 < prompt_len_) {
    const int32_t id = tokens[static_cast<size_t>(position + 1)];
    SampledToken token = token_logprobs(logits, id, scoring_.num_top, workspace_).value();
    const auto index = static_cast<size_t>(position - first_row_);
    scores_.logprobs[index] = *token.logprob;
    scores_.ranks[index] = rank_of(logits, id);
    if (scoring_.num_top > 0) scores_.top_logprobs[index] = std::move(token.top_logprobs);
    return;
  }
  const LogSoftmax log_softmax(logits);
  for (size_t i = 0; i < scoring_.next_ids.size(); ++i)
    scores_.next_logprobs[i] = log_softmax.of(logits[static_cast<size_t>(scoring_.next_ids[i])]);
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
    const Choice& choice = choices.at(segment.sequence_id);
    std::optional<PromptScorer>& scorer = choice.request().scorer;
    if (!scorer || choice.index() != 0) continue;
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
  for (Outcome& outcome : outcomes) {
    const Choice& choice = choices.at(outcome.id);
    const std::optional<PromptScorer>& scorer = choice.request().scorer;
    if (!scorer || choice.index() != 0 || !outcome.status.ok() || scorer->status().ok()) continue;
    outcome.status = scorer->status();
    outcome.steps.clear();
  }
  return ok_status();
}

}  // namespace fathom
