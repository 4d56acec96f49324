#include "server/mindie/answer_exchange.h"

#include "server/mindie/error.h"

namespace fathom::mindie {

AnswerExchange::~AnswerExchange() {
  const auto found = running_.find(request_.id);
  if (found != running_.end() && found->second == this) running_.erase(found);
}

void AnswerExchange::start(Parsed parsed) {
  if (const auto* error = std::get_if<ApiError>(&parsed)) return fail(*error);
  request_ = std::get<Prepared>(std::move(parsed));
  answers_.resize(static_cast<size_t>(request_.generation.num_sequences()));
  begin(std::move(request_.generation), request_.stream ? Delivery::kStream : Delivery::kWhole);
  for (Answer& answer : answers_) answer.last_time = record().begin_time();
  if (state() == State::kWaiting && !request_.id.empty()) running_[request_.id] = this;
}

void AnswerExchange::take(const GenerationEvent& event) {
  if (event.kind == GenerationEventKind::kPromptScores) return;
  const auto index = static_cast<size_t>(event.index);
  Answer& answer = answers_[index];
  Piece piece{.index = index, .text = event.text, .milliseconds = (event.time - answer.last_time) * 1e3};
  answer.text += event.text;
  answer.finish_reason = event.finish_reason;
  answer.last_time = event.time;
  if (event.kind == GenerationEventKind::kToken) {
    answer.tokens.push_back(event.token);
    piece.token = &answer.tokens.back();
  }
  show(std::move(piece));
}

void AnswerExchange::show(Piece piece) {
  if (state() != State::kStreaming) return;
  if (text_ == Text::kWhole) piece.text = answers_[piece.index].text;
  send(request_.form->piece(answers_, piece));
}

HttpReply AnswerExchange::refusal(const ApiError& error) const { return refusal_reply(error); }

void AnswerExchange::stop() {
  if (state() != State::kWaiting && state() != State::kStreaming) return;
  for (size_t i = 0; i < answers_.size(); ++i) {
    if (answers_[i].finish_reason != FinishReason::kNone) continue;
    answers_[i].finish_reason = FinishReason::kCancelled;
    record().end(i, FinishReason::kCancelled);
    show({.index = i});
  }
  finish();  // where nothing was sent yet, with a whole reply
  abandon();
}

}  // namespace fathom::mindie
