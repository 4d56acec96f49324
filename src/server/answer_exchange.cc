#include "server/answer_exchange.h"

namespace fathom {

void AnswerExchange::start(std::variant<CompletionRequest, ApiError> parsed) {
  if (const auto* error = std::get_if<ApiError>(&parsed)) return fail(*error);
  auto& request = std::get<CompletionRequest>(parsed);
  reply_ = request.reply;
  parser_ = AnswerParser(request.tools);
  stop_reason_ = StopReason(request.generation.sampling);
  begin(std::move(request.generation), reply_.stream ? Delivery::kStream : Delivery::kWhole);
}

void AnswerExchange::opened() {
  if (streams()) send(format_->begin(record().usage()));
}

void AnswerExchange::take(const GenerationEvent& event) {
  if (event.kind == GenerationEventKind::kPromptScores) return;
  if (event.kind == GenerationEventKind::kToken && reply_.logprobs) unshown_.push_back(event.token);
  GenerationEvent shown = event;
  Json stop_reason = stop_reason_.find(shown);
  for (const AnswerPiece& piece : parser_.push(shown.text)) add(piece);
  if (!event.ends()) return;
  for (const AnswerPiece& piece : parser_.finish()) add(piece);
  if (items_.empty()) add({AnswerPiece::Kind::kText, ""});  // an answer without a word is a text
  close_item();
  end_ = {event.finish_reason, std::move(stop_reason), record().usage()};
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
  if (streams()) send(format_->piece(items_.size() - 1, part, opens));
}

void AnswerExchange::close_item() {
  if (item_is_open_ && streams()) send(format_->item_end(items_.size() - 1, items_.back()));
  item_is_open_ = false;
}

void AnswerExchange::finish_whole() { finish_with({.body = dump_json(format_->whole(items_, end_))}); }

std::string AnswerExchange::stream_end() { return format_->end(items_, end_); }

}  // namespace fathom
