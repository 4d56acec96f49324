// The log-probabilities that one request asks for (PromptScoring), gathered while its prompt is computed, in
// whatever pieces. Knows nothing of the batch.
#pragma once

#include <cstdint>
#include <span>

#include "engine/engine.h"

namespace fathom {

class PromptScorer {
 public:
  static bool asks(const PromptScoring& scoring) { return scoring.first || !scoring.next_ids.empty(); }
  // Names the limit and the value.
  static Status check(const PromptScoring& scoring, size_t prompt_len, int64_t vocab_size);

  // Of a prompt, that may be taken over from the cache without losing logits that are wanted.
  static int64_t max_cached_tokens(const PromptScoring& scoring, int64_t prompt_len);

  // Precondition: check() passed and asks().
  PromptScorer(PromptScoring scoring, size_t prompt_len);

  // Whether the logits of this position are wanted.
  bool wants(int64_t position) const { return position >= first_row_ && position < end_row_; }
  // logits [vocab] of a wanted position of tokens, which begin with the prompt. A position computed again
  // after preemption may come again.
  void take(int64_t position, std::span<const int32_t> tokens, std::span<const float> logits);
  // kInvalidData where logits were not finite. The prompt has been computed.
  Status status() const { return status_; }
  PromptScores scores() &&;

 private:
  PromptScoring scoring_;
  int64_t prompt_len_;
  int64_t first_row_;  // positions [first_row_, end_row_) are wanted
  int64_t end_row_;
  PromptScores scores_;
  SamplerWorkspace workspace_;
  Status status_;
};

}  // namespace fathom
