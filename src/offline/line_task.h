// One line's request on its way through the engine: its prompts and what their choices have said so far.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "offline/prompt_file.h"
#include "server/completion_answer.h"
#include "server/constraint_cache.h"
#include "server/submission.h"

namespace fathom {

class LineTask {
 public:
  // The model must outlive this.
  LineTask(PromptLine line, CompletionRequest request, const ServedModel& model);
  LineTask(const LineTask&) = delete;
  LineTask& operator=(const LineTask&) = delete;

  const PromptLine& line() const { return line_; }
  size_t num_prompts() const { return planned_.size(); }
  std::span<const int32_t> prompt(size_t index) const { return planned_[index].request.prompt_ids; }
  // Before request(): what the answers have to look like, which takes memory and up to 100 ms. An error is
  // not the line's yet. cache: called where the line asks for a constraint.
  std::optional<ApiError> compile_constraint(const std::function<ConstraintCache*()>& cache);
  // Of one prompt, once: what the engine is to be given, and what it says of it.
  const Request& request(size_t index) const { return planned_[index].request; }
  void on_event(size_t index, const RequestEvent& event);
  // The engine began to compute it at that time, in monotonic seconds. Counts once, and before any token.
  void start(double time);
  // The prompt ends without the engine, and the line fails.
  void refuse(size_t index, const ApiError& error);

  bool has_ended() const { return num_ended_ == num_choices_; }
  bool has_failed() const { return error_.has_value(); }
  // Precondition: has_failed().
  const ApiError& error() const { return *error_; }
  // Precondition: has_ended().
  CompletionAnswer& answer() { return *answer_; }
  const Usage& usage() const { return record_.usage(); }
  // Frees what the record was made of.
  void forget();

 private:
  PromptLine line_;
  std::optional<RequestedConstraint> constraint_;  // not compiled yet
  std::optional<CompletionAnswer> answer_;         // until forget()
  size_t num_choices_ = 0;                         // of all prompts
  std::vector<PlannedPrompt> planned_;
  AnswerRecord record_;
  bool has_started_ = false;
  size_t num_ended_ = 0;
  std::optional<ApiError> error_;
};

// What a line is told of a failure: all of it, since whoever runs the file may see it.
ApiError line_error_of(const Status& status);

}  // namespace fathom
