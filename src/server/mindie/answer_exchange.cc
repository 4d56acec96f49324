#include "server/mindie/answer_exchange.h"

#include "server/answer_exchange.h"
#include "server/mindie/error.h"

namespace fathom::mindie {

AnswerExchange::~AnswerExchange() {
  const auto found = running_.find(request_.id);
  if (found != running_.end() && found->second == this) running_.erase(found);
}

void AnswerExchange::start(Parsed parsed) {
  if (const auto* error = std::get_if<ApiError>(&parsed)) return fail(*error);
  request_ = std::get<Prepared>(std::move(parsed));
  GenerationRequest generation = std::move(request_.generation);
  answers_.resize(static_cast<size_t>(generation.num_sequences()));
  record_.begin(static_cast<int64_t>(generation.prompts.front().size()), answers_.size(), generation.n);
  for (Answer& answer : answers_) answer.last_time = record_.begin_time();
  state_ = State::kWaiting;
  auto started = client_.start(std::move(generation), *this);
  if (const auto* error = std::get_if<ApiError>(&started)) return fail(*error);
  generation_ = std::get<std::unique_ptr<Generation>>(std::move(started));
  if (!request_.id.empty()) running_[request_.id] = this;
}

// Not before the engine has the request: until then it may still be refused with a status of its own.
void AnswerExchange::open() {
  if (!request_.stream) return;
  state_ = State::kStreaming;
  writer_.begin_stream(request_.form->stream_head());
}

void AnswerExchange::on_event(const GenerationEvent& event) {
  if (state_ == State::kEnded) return;
  if (event.finish_reason == FinishReason::kError || event.finish_reason == FinishReason::kCancelled) {
    return fail(error_of_event(event));
  }
  record_.observe(event);
  if (event.kind == GenerationEventKind::kAccepted) open();
  if (event.kind == GenerationEventKind::kToken || event.kind == GenerationEventKind::kEnd) take(event);
}

void AnswerExchange::take(const GenerationEvent& event) {
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
  if (event.ends() && ++num_finished_ == answers_.size()) finish();
}

void AnswerExchange::show(Piece piece) {
  if (!request_.stream) return;
  if (text_ == Text::kWhole) piece.text = answers_[piece.index].text;
  writer_.write(request_.form->piece(answers_, piece));
}

std::string AnswerExchange::log_note() const { return generation_ ? record_.log_note() : std::string(); }

void AnswerExchange::stop() {
  if (state_ != State::kWaiting && state_ != State::kStreaming) return;
  for (size_t i = 0; i < answers_.size(); ++i) {
    if (answers_[i].finish_reason != FinishReason::kNone) continue;
    answers_[i].finish_reason = FinishReason::kCancelled;
    record_.end(i, FinishReason::kCancelled);
    if (state_ == State::kStreaming) show({.index = i});
  }
  if (state_ == State::kWaiting) request_.stream = false;  // nothing was sent yet: a whole reply
  finish();
  generation_.reset();
}

void AnswerExchange::finish() {
  const bool streaming = state_ == State::kStreaming;
  state_ = State::kEnded;
  if (streaming) return writer_.end_stream();
  writer_.reply({.body = dump_json(request_.form->whole(answers_))});
}

void AnswerExchange::fail(const ApiError& error) {
  const bool streaming = state_ == State::kStreaming;
  state_ = State::kEnded;
  generation_.reset();
  if (!streaming) return writer_.reply(refusal_reply(error));
  writer_.write(request_.form->stream_error(error));
  writer_.end_stream();
}

}  // namespace fathom::mindie
