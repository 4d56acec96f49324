// One line's request on its way through the engine: its sequences and what they have said so far.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/prompt_score.h"
#include "offline/prompt_file.h"
#include "offline/record.h"
#include "server/submission.h"

namespace fathom {

class LineTask {
 public:
  LineTask(PromptLine line, CompletionRequest request);
  LineTask(const LineTask&) = delete;
  LineTask& operator=(const LineTask&) = delete;

  const PromptLine& line() const { return line_; }
  size_t num_choices() const { return planned_.size(); }
  // Until the caller has taken it for the engine.
  PlannedSequence& planned(size_t choice) { return planned_[choice]; }
  std::span<const int32_t> prompt(size_t choice) const { return planned_[choice].request.prompt_ids; }

  // Log-probabilities of the prompt of this choice, for all choices of the same prompt.
  void add_scores(size_t choice, const std::vector<SampledToken>& scores);
  void add_token(size_t choice, const RequestEvent& event);
  void end_choice(size_t choice, FinishReason reason);
  // The whole line fails; the first error counts.
  void fail(const Status& status);

  bool has_ended() const { return num_ended_ == choices_.size(); }
  bool has_failed() const { return error_.has_value(); }
  // Precondition: has_failed().
  const ApiError& error() const { return *error_; }
  // Precondition: has_ended(). Points into this.
  LineAnswer answer() const { return {.reply = &request_.reply, .choices = &choices_, .usage = usage_}; }
  // Frees what the record was made of.
  void forget();

 private:
  size_t prompt_of(size_t choice) const { return choice / static_cast<size_t>(request_.generation.n); }

  PromptLine line_;
  CompletionRequest request_;                        // generation without its prompts
  std::vector<std::vector<int32_t>> shown_prompts_;  // where the reply has token ids
  std::vector<PlannedSequence> planned_;
  std::vector<ChoicePiece> choices_;
  Usage usage_;
  size_t num_ended_ = 0;
  std::optional<ApiError> error_;
};

}  // namespace fathom
