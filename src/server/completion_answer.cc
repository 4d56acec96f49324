#include "server/completion_answer.h"

namespace fathom {

CompletionAnswer::CompletionAnswer(CompletionRequest request, std::string request_id,
                                   const ServedModel& model)
    : request_id_(std::move(request_id)),
      generation_(std::move(request.generation)),
      options_(request.reply),
      num_choices_(static_cast<size_t>(generation_.n)),
      writer_(options_, request_id_, model),
      stop_reason_(generation_.sampling),
      choices_(static_cast<size_t>(generation_.num_sequences())) {
  if (options_.echo) echoed_ = std::move(request.echoed);
  if (options_.token_ids) shown_prompts_ = generation_.prompts;
  if (options_.kind == CompletionKind::kChat) {
    parsers_.assign(choices_.size(), AnswerParser(request.tools));
    last_calls_.assign(choices_.size(), -1);
  }
  // An echo waits for the scores that go with it.
  const bool shows_echo = options_.echo && !generation_.prompt_logprobs;
  for (size_t i = 0; i < choices_.size(); ++i) {
    choices_[i].index = static_cast<int32_t>(i);
    if (options_.token_ids) choices_[i].prompt_ids = &shown_prompts_[prompt_of(i)];
    if (shows_echo) choices_[i].text = echoed_[prompt_of(i)];
  }
}

std::span<ChoicePiece> CompletionAnswer::add_scores(const GenerationEvent& event) {
  const std::span choices = std::span(choices_).subspan(static_cast<size_t>(event.index), num_choices_);
  for (ChoicePiece& choice : choices) {
    // Others than the first may have begun.
    if (options_.echo) choice.text.insert(0, echoed_[prompt_of(static_cast<size_t>(event.index))]);
    choice.prompt_scores = event.prompt_scores;
    choice.prompt_ranks = event.prompt_ranks;
  }
  return choices;
}

ChoicePiece CompletionAnswer::piece_of(GenerationEvent event, const AnswerRecord& record) {
  const auto index = static_cast<size_t>(event.index);
  const bool is_token = event.kind == GenerationEventKind::kToken;
  if (options_.timings && is_token) writer_.set_timings(record.timings_json());
  ChoicePiece piece{.index = event.index, .finish_reason = event.finish_reason};
  piece.stop_reason = stop_reason_.find(event);
  if (options_.keeps_tokens() && is_token) piece.tokens.push_back(event.token);
  if (parsers_.empty()) {
    piece.text = std::move(event.text);
    return piece;
  }
  add_parts(parsers_[index].push(event.text), piece);
  if (event.ends()) add_parts(parsers_[index].finish(), piece);
  piece.has_called = last_calls_[index] >= 0;
  return piece;
}

void CompletionAnswer::add_parts(std::vector<AnswerPiece> parts, ChoicePiece& piece) {
  int32_t& call = last_calls_[static_cast<size_t>(piece.index)];
  for (AnswerPiece& part : parts) {
    switch (part.kind) {
      case AnswerPiece::Kind::kText:
        piece.text += part.text;
        break;
      case AnswerPiece::Kind::kCall:
        ++call;
        piece.calls.push_back({.index = call,
                               .id = fmt::format("call_{}_{}_{}", request_id_, piece.index, call),
                               .name = std::move(part.text)});
        break;
      case AnswerPiece::Kind::kArguments:
        if (piece.calls.empty()) piece.calls.push_back({.index = call});
        piece.calls.back().arguments += part.text;
        break;
    }
  }
}

void CompletionAnswer::add(ChoicePiece piece) {
  ChoicePiece& choice = choices_[static_cast<size_t>(piece.index)];
  choice.text += piece.text;
  choice.tokens.insert(choice.tokens.end(), piece.tokens.begin(), piece.tokens.end());
  for (CallPiece& call : piece.calls) {
    if (call.name.empty()) {
      choice.calls.back().arguments += call.arguments;
    } else {
      choice.calls.push_back(std::move(call));
    }
  }
  choice.has_called = piece.has_called;
  choice.finish_reason = piece.finish_reason;
  choice.stop_reason = std::move(piece.stop_reason);
}

size_t CompletionAnswer::estimated_bytes() const {
  constexpr size_t kLogprobBytes = 64;
  size_t bytes = 0;
  const auto add = [&bytes](const std::vector<SampledToken>& tokens) {
    for (const SampledToken& token : tokens) bytes += (1 + token.top_logprobs.size()) * kLogprobBytes;
  };
  for (const ChoicePiece& choice : choices_) {
    bytes += choice.text.size();
    add(choice.prompt_scores);
    add(choice.tokens);
  }
  return bytes;
}

}  // namespace fathom
