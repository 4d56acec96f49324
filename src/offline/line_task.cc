#include "offline/line_task.h"

#include <ctime>

#include "base/clock.h"
#include "offline/record.h"

namespace fathom {

ApiError line_error_of(const Status& status) {
  ApiError error = api_error_of(status, "");
  error.message = status.message();
  return error;
}

LineTask::LineTask(PromptLine line, CompletionRequest request, const ServedModel& model)
    : line_(std::move(line)), constraint_(std::move(request.constraint)) {
  answer_.emplace(std::move(request), request_id(line_), model);
  const GenerationRequest generation = answer_->take_generation();
  num_choices_ = static_cast<size_t>(generation.num_sequences());
  int64_t prompt_tokens = 0;
  for (const auto& prompt : generation.prompts) prompt_tokens += static_cast<int64_t>(prompt.size());
  record_.begin(prompt_tokens, num_choices_, generation.n);
  planned_ = plan_prompts(generation);
}

std::optional<ApiError> LineTask::compile_constraint(const std::function<ConstraintCache*()>& cache) {
  if (!constraint_) return std::nullopt;
  auto compiled = fathom::compile_constraint(*constraint_, cache());
  if (const auto* error = std::get_if<ApiError>(&compiled)) return *error;
  for (PlannedPrompt& planned : planned_)
    planned.request.constraint = std::get<ConstraintCache::Compiled>(compiled);
  constraint_.reset();
  return std::nullopt;
}

void LineTask::on_event(size_t index, const RequestEvent& event) {
  PlannedPrompt& planned = planned_[index];
  // Scores come with the first token.
  if (event.token_id && event.choice == 0 && std::exchange(planned.scores_prompt, false))
    answer_->add_scores(to_scores_event(planned, event));
  GenerationEvent out = to_generation_event(planned, event);
  out.time = monotonic_seconds();
  if (!out.status.ok()) {
    if (!error_) error_ = line_error_of(out.status);
  } else {
    record_.observe(out);
    answer_->add(answer_->piece_of(out, record_));
  }
  if (out.ends()) ++num_ended_;
}

void LineTask::start(double time) {
  if (has_started_ || !answer_) return;
  has_started_ = true;
  record_.observe({.kind = GenerationEventKind::kStarted, .time = time});
  answer_->writer().set_created(std::time(nullptr));
}

void LineTask::refuse(size_t index, const ApiError& error) {
  if (!error_) error_ = error;
  num_ended_ += static_cast<size_t>(planned_[index].request.n);
}

void LineTask::forget() {
  planned_ = {};
  answer_.reset();
}

}  // namespace fathom
