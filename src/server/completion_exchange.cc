#include "server/completion_exchange.h"

#include "server/sse.h"

namespace fathom {

void CompletionExchange::start(std::variant<CompletionRequest, ApiError> parsed) {
  if (const auto* error = std::get_if<ApiError>(&parsed)) return fail(*error);
  answer_ =
      std::make_shared<CompletionAnswer>(std::get<CompletionRequest>(std::move(parsed)), request_id_, model_);
  begin(answer_->take_generation(), answer_->options().stream ? Delivery::kStream : Delivery::kWhole);
}

// What is known before the engine's first step is shown at once.
void CompletionExchange::opened() {
  if (!answer_->options().stream) return;
  for (ChoicePiece& choice : answer_->choices()) {
    if (answer_->options().kind == CompletionKind::kChat) {
      send(sse_event(answer_->writer().role_chunk(choice.index)));
    } else if (!choice.text.empty()) {
      send_chunk(choice);
      choice.text.clear();
    }
  }
}

void CompletionExchange::send_chunk(const ChoicePiece& piece) {
  const auto usage = answer_->options().continuous_usage ? std::optional(record().usage()) : std::nullopt;
  send(sse_event(answer_->writer().chunk(piece, usage)));
}

void CompletionExchange::take(const GenerationEvent& event) {
  if (event.kind == GenerationEventKind::kPromptScores) return add_scores(event);
  ChoicePiece piece = answer_->piece_of(event, record());
  answer_->options().stream ? stream_piece(std::move(piece)) : answer_->add(std::move(piece));
}

void CompletionExchange::add_scores(const GenerationEvent& event) {
  for (ChoicePiece& choice : answer_->add_scores(event)) {
    if (!answer_->options().stream) continue;
    send_chunk(choice);
    choice.text.clear();
    choice.prompt_scores.clear();
  }
}

// The end of a choice has a chunk of its own.
void CompletionExchange::stream_piece(ChoicePiece piece) {
  ChoicePiece& choice = answer_->choices()[static_cast<size_t>(piece.index)];
  ChoicePiece end{.index = piece.index,
                  .finish_reason = std::exchange(piece.finish_reason, FinishReason::kNone)};
  end.has_called = piece.has_called;
  end.stop_reason = std::exchange(piece.stop_reason, nullptr);
  if (!piece.text.empty() || !piece.tokens.empty() || !piece.calls.empty()) {
    piece.prompt_ids = std::exchange(choice.prompt_ids, nullptr);  // with the first piece
    send_chunk(piece);
  }
  if (end.finish_reason != FinishReason::kNone) send_chunk(end);
}

// Log-probabilities can come to many megabytes, which would hold up all streams: the worker writes them.
void CompletionExchange::finish_whole() {
  const auto reply = std::make_shared<HttpReply>();
  work_.run_sized(answer_->estimated_bytes(), weak_from_this(),
                  [this, answer = answer_, usage = record().usage(), reply]() -> std::function<void()> {
                    reply->body = answer->whole(usage);
                    return [this, reply] { finish_with(std::move(*reply)); };
                  });
}

std::string CompletionExchange::stream_end() {
  std::string end;
  if (answer_->options().include_usage) end = sse_event(answer_->writer().usage_chunk(record().usage()));
  return end.append(kSseDone);
}

std::string CompletionExchange::stream_failure(const ApiError& error) {
  return sse_event(dump_json(error_json(error))).append(kSseDone);
}

}  // namespace fathom
