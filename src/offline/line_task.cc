#include "offline/line_task.h"

namespace fathom {

LineTask::LineTask(PromptLine line, CompletionRequest request)
    : line_(std::move(line)), request_(std::move(request)) {
  planned_ = plan_sequences(request_.generation);
  for (const auto& prompt : request_.generation.prompts)
    usage_.prompt_tokens += static_cast<int64_t>(prompt.size());
  if (request_.reply.token_ids) shown_prompts_ = std::move(request_.generation.prompts);
  request_.generation.prompts.clear();
  choices_.resize(planned_.size());
  const bool echoes = request_.reply.echo && !request_.generation.prompt_logprobs;
  for (size_t i = 0; i < choices_.size(); ++i) {
    choices_[i].index = static_cast<int32_t>(i);
    if (request_.reply.token_ids) choices_[i].prompt_ids = &shown_prompts_[prompt_of(i)];
    if (echoes) choices_[i].text = request_.echoed[prompt_of(i)];
  }
}

void LineTask::add_scores(size_t choice, const std::vector<SampledToken>& scores) {
  const size_t end = choice + static_cast<size_t>(request_.generation.n);
  for (size_t i = choice; i < end; ++i) {
    choices_[i].text = request_.echoed[prompt_of(i)] + choices_[i].text;
    choices_[i].prompt_scores = scores;
  }
}

void LineTask::add_token(size_t choice, const RequestEvent& event) {
  ++usage_.completion_tokens;
  ChoicePiece& piece = choices_[choice];
  piece.text += event.text;
  if (request_.reply.logprobs || request_.reply.token_ids)
    piece.tokens.push_back(
        {.id = *event.token_id, .logprob = event.logprob, .top_logprobs = event.top_logprobs});
}

void LineTask::end_choice(size_t choice, FinishReason reason) {
  choices_[choice].finish_reason = reason;
  ++num_ended_;
}

void LineTask::fail(const Status& status) {
  if (error_) return;
  error_ = api_error_of(status, "");
  error_->message = status.message();  // whoever runs the file may see it
}

void LineTask::forget() {
  planned_ = {};
  choices_ = std::vector<ChoicePiece>(choices_.size());
  shown_prompts_ = {};
  request_.echoed = {};
}

}  // namespace fathom
