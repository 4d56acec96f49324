#include "server/answer_exchange.h"

namespace fathom {

void AnswerExchange::start(CompletionRequest request, std::unique_ptr<AnswerWriter> format) {
  format_ = std::move(format);
  reply_ = request.reply;
  parser_ = AnswerParser(request.tools);
  stop_reason_ = StopReason(request.generation.sampling);
  record_.begin(static_cast<int64_t>(request.generation.prompts.at(0).size()), 1, 1);
  auto started = client_.start(std::move(request.generation), *this);
  if (const auto* error = std::get_if<ApiError>(&started)) return fail(*error);
  generation_ = std::get<std::unique_ptr<Generation>>(std::move(started));
}

void AnswerExchange::on_event(const GenerationEvent& event) {
  if (ended_) return;
  if (event.finish_reason == FinishReason::kError || event.finish_reason == FinishReason::kCancelled) {
    return fail(error_of_event(event));
  }
  record_.observe(event);
  if (event.kind == GenerationEventKind::kAccepted && reply_.stream) {
    streams_ = true;
    writer_.begin_stream(stream_head());
    send(format_->begin(record_.usage()));
  }
  if (event.kind != GenerationEventKind::kToken && event.kind != GenerationEventKind::kEnd) return;
  add_tokens(event);
  GenerationEvent shown = event;
  Json stop_reason = stop_reason_.find(shown);
  for (const AnswerPiece& piece : parser_.push(shown.text)) add(piece);
  if (!event.ends()) return;
  for (const AnswerPiece& piece : parser_.finish()) add(piece);
  finish(event, std::move(stop_reason));
}

void AnswerExchange::add_tokens(const GenerationEvent& event) {
  if (event.kind == GenerationEventKind::kToken && reply_.logprobs) unshown_.push_back(event.token);
}

void AnswerExchange::add(const AnswerPiece& piece) {
  const bool is_call = piece.kind != AnswerPiece::Kind::kText;
  const bool opens = piece.kind == AnswerPiece::Kind::kCall || items_.empty() || !item_is_open_ ||
                     items_.back().is_call != is_call;
  if (opens) {
    close_item();
    items_.push_back({.is_call = is_call, .text = {}, .name = {}});
    item_is_open_ = true;
  }
  AnswerItem part{.is_call = is_call, .text = {}, .name = {}};
  (piece.kind == AnswerPiece::Kind::kCall ? part.name : part.text) = piece.text;
  if (!is_call) part.tokens = std::exchange(unshown_, {});
  AnswerItem& item = items_.back();
  item.name += part.name;
  item.text += part.text;
  item.tokens.insert(item.tokens.end(), part.tokens.begin(), part.tokens.end());
  if (streams_) send(format_->piece(items_.size() - 1, part, opens));
}

void AnswerExchange::close_item() {
  if (item_is_open_ && streams_) send(format_->item_end(items_.size() - 1, items_.back()));
  item_is_open_ = false;
}

void AnswerExchange::send(const std::string& events) {
  if (!events.empty()) writer_.write(events);
}

void AnswerExchange::finish(const GenerationEvent& event, Json stop_reason) {
  if (items_.empty()) add({AnswerPiece::Kind::kText, ""});  // an answer without a word is a text
  close_item();
  ended_ = true;
  const AnswerEnd end{event.finish_reason, std::move(stop_reason), record_.usage()};
  if (!streams_) return writer_.reply({.body = dump_json(format_->whole(items_, end))});
  send(format_->end(items_, end));
  writer_.end_stream();
}

void AnswerExchange::fail(const ApiError& error) {
  ended_ = true;
  generation_.reset();
  if (!streams_) return writer_.reply(format_->error(error));
  send(format_->error_event(error));
  writer_.end_stream();
}

std::string AnswerExchange::log_note() const { return generation_ ? record_.log_note() : std::string(); }

ApiError error_of_event(const GenerationEvent& event) {
  if (event.timed_out) return {.status = 504, .message = event.status.message(), .code = "deadline_exceeded"};
  if (event.rank_lost) return rank_lost_error(event.status);
  if (event.finish_reason == FinishReason::kCancelled) return unavailable("the server is shutting down");
  return api_error_of(event.status, "");
}

HttpReply stream_head() {
  return {.status = 200,
          .content_type = "text/event-stream; charset=utf-8",
          .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
}

}  // namespace fathom
