#include "offline/line_task.h"

namespace fathom {

LineTask::LineTask(PromptLine line, CompletionRequest request)
    : line_(std::move(line)), request_(std::move(request)) {
  planned_ = plan_prompts(request_.generation);
  choices_.resize(static_cast<size_t>(request_.generation.num_sequences()));
  for (const auto& prompt : request_.generation.prompts)
    usage_.prompt_tokens += static_cast<int64_t>(prompt.size());
  if (request_.reply.token_ids) shown_prompts_ = std::move(request_.generation.prompts);
  request_.generation.prompts.clear();
  const bool echoes = request_.reply.echo && !request_.generation.prompt_logprobs;
  for (size_t i = 0; i < choices_.size(); ++i) {
    choices_[i].index = static_cast<int32_t>(i);
    if (request_.reply.token_ids) choices_[i].prompt_ids = &shown_prompts_[i / num_choices()];
    if (echoes) choices_[i].text = request_.echoed[i / num_choices()];
  }
}

void LineTask::on_event(size_t index, const RequestEvent& event) {
  PlannedPrompt& planned = planned_[index];
  if (planned.scores_prompt && event.choice == 0 && event.token_id) {
    add_scores(to_scores_event(planned, event));
    planned.scores_prompt = false;  // they come with the first token
  }
  const GenerationEvent out = to_generation_event(planned, event);
  if (out.kind == GenerationEventKind::kToken) add_token(out);
  if (!out.status.ok()) fail(out.status);
  if (!out.ends()) return;
  choices_[static_cast<size_t>(out.index)].finish_reason = out.finish_reason;
  ++num_ended_;
}

void LineTask::refuse(size_t index, const Status& status) {
  fail(status);
  num_ended_ += static_cast<size_t>(planned_[index].request.n);
}

// The first error counts.
void LineTask::fail(const Status& status) {
  if (error_) return;
  error_ = api_error_of(status, "");
  error_->message = status.message();  // whoever runs the file may see it
}

// The scores of one prompt belong to all its choices, which may have begun.
void LineTask::add_scores(const GenerationEvent& event) {
  const auto first = static_cast<size_t>(event.index);
  for (size_t i = first; i < first + num_choices(); ++i) {
    choices_[i].text = request_.echoed[first / num_choices()] + choices_[i].text;
    choices_[i].prompt_scores = event.prompt_scores;
  }
}

void LineTask::add_token(const GenerationEvent& event) {
  const auto index = static_cast<size_t>(event.index);
  ++usage_.completion_tokens;
  if (index % num_choices() == 0) usage_.cached_tokens += event.cached_tokens;
  choices_[index].text += event.text;
  if (request_.reply.keeps_tokens()) choices_[index].tokens.push_back(event.token);
}

void LineTask::forget() {
  planned_ = {};
  choices_ = std::vector<ChoicePiece>(choices_.size());
  shown_prompts_ = {};
  request_.echoed = {};
}

}  // namespace fathom
