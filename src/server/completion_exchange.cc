#include "server/completion_exchange.h"

#include "server/sse.h"

namespace fathom {
namespace {

// Of a reply, roughly.
size_t estimated_bytes(const std::vector<ChoicePiece>& choices) {
  constexpr size_t kLogprobBytes = 64;
  size_t bytes = 0;
  const auto add = [&bytes](const std::vector<SampledToken>& tokens) {
    for (const SampledToken& token : tokens) bytes += (1 + token.top_logprobs.size()) * kLogprobBytes;
  };
  for (const ChoicePiece& choice : choices) {
    bytes += choice.text.size();
    add(choice.prompt_scores);
    add(choice.tokens);
  }
  return bytes;
}

}  // namespace

void CompletionExchange::start(std::variant<CompletionRequest, ApiError> parsed) {
  if (const auto* error = std::get_if<ApiError>(&parsed)) return fail(*error);
  request_ = std::get<CompletionRequest>(std::move(parsed));
  reply_.emplace(request_.reply, request_id_, model_);
  if (request_.reply.token_ids) shown_prompts_ = request_.generation.prompts;
  choices_.resize(static_cast<size_t>(request_.generation.num_sequences()));
  if (request_.reply.kind == CompletionKind::kChat) {
    parsers_.assign(choices_.size(), AnswerParser(request_.tools));
    last_calls_.assign(choices_.size(), -1);
  }
  stop_reason_ = StopReason(request_.generation.sampling);
  for (size_t i = 0; i < choices_.size(); ++i) {
    choices_[i].index = static_cast<int32_t>(i);
    if (request_.reply.token_ids) choices_[i].prompt_ids = &shown_prompts_[prompt_of(i)];
  }
  GenerationRequest generation = std::move(request_.generation);
  request_.generation.n = generation.n;
  request_.generation.prompt_logprobs = generation.prompt_logprobs;
  begin(std::move(generation), request_.reply.stream ? Delivery::kStream : Delivery::kWhole);
}

// What is known before the engine's first step is shown at once.
void CompletionExchange::opened() {
  // An echo waits for the scores that go with it.
  const bool waits = request_.generation.prompt_logprobs.has_value();
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (request_.reply.echo && !waits) choices_[i].text = request_.echoed[prompt_of(i)];
    if (!request_.reply.stream) continue;
    if (request_.reply.kind == CompletionKind::kChat) {
      send(sse_event(reply_->role_chunk(static_cast<int32_t>(i))));
    } else if (!choices_[i].text.empty()) {
      send(sse_event(reply_->chunk(choices_[i], chunk_usage())));
      choices_[i].text.clear();
    }
  }
}

std::optional<Usage> CompletionExchange::chunk_usage() const {
  return request_.reply.continuous_usage ? std::optional(record().usage()) : std::nullopt;
}

void CompletionExchange::take(const GenerationEvent& event) {
  if (event.kind == GenerationEventKind::kPromptScores) return add_scores(event);
  if (request_.reply.timings && event.kind == GenerationEventKind::kToken)
    reply_->set_timings(record().timings_json());
  ChoicePiece piece = piece_of(event);
  request_.reply.stream ? stream_piece(std::move(piece)) : add_piece(std::move(piece));
}

// The scores of one prompt belong to all its choices.
void CompletionExchange::add_scores(const GenerationEvent& event) {
  const auto first = static_cast<size_t>(event.index);
  for (size_t i = first; i < first + static_cast<size_t>(request_.generation.n); ++i) {
    if (request_.reply.echo) choices_[i].text = request_.echoed[prompt_of(i)];
    choices_[i].prompt_scores = event.prompt_scores;
    choices_[i].prompt_ranks = event.prompt_ranks;
    if (!request_.reply.stream) continue;
    send(sse_event(reply_->chunk(choices_[i], chunk_usage())));
    choices_[i].text.clear();
    choices_[i].prompt_scores.clear();
  }
}

// What an event brings, as the reply says it.
ChoicePiece CompletionExchange::piece_of(GenerationEvent event) {
  const auto index = static_cast<size_t>(event.index);
  ChoicePiece piece{.index = event.index, .finish_reason = event.finish_reason};
  piece.stop_reason = stop_reason_.find(event);
  if (request_.reply.keeps_tokens() && event.kind == GenerationEventKind::kToken)
    piece.tokens.push_back(event.token);
  if (parsers_.empty()) {
    piece.text = std::move(event.text);
    return piece;
  }
  AnswerParser& parser = parsers_[index];
  int32_t& call = last_calls_[index];
  const auto take = [&](std::vector<AnswerPiece> parts) {
    for (AnswerPiece& part : parts) {
      switch (part.kind) {
        case AnswerPiece::Kind::kText:
          piece.text += part.text;
          break;
        case AnswerPiece::Kind::kCall:
          ++call;
          piece.calls.push_back({.index = call,
                                 .id = fmt::format("call_{}_{}_{}", request_id_, index, call),
                                 .name = std::move(part.text)});
          break;
        case AnswerPiece::Kind::kArguments:
          if (piece.calls.empty()) piece.calls.push_back({.index = call});
          piece.calls.back().arguments += part.text;
          break;
      }
    }
  };
  take(parser.push(event.text));
  if (event.ends()) take(parser.finish());
  piece.has_called = call >= 0;
  return piece;
}

void CompletionExchange::add_piece(ChoicePiece piece) {
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

// The end of a choice has a chunk of its own.
void CompletionExchange::stream_piece(ChoicePiece piece) {
  ChoicePiece& choice = choices_[static_cast<size_t>(piece.index)];
  ChoicePiece end{.index = piece.index,
                  .finish_reason = std::exchange(piece.finish_reason, FinishReason::kNone)};
  end.has_called = piece.has_called;
  end.stop_reason = std::exchange(piece.stop_reason, nullptr);
  if (!piece.text.empty() || !piece.tokens.empty() || !piece.calls.empty()) {
    piece.prompt_ids = std::exchange(choice.prompt_ids, nullptr);  // with the first piece
    send(sse_event(reply_->chunk(piece, chunk_usage())));
  }
  choice.finish_reason = end.finish_reason;
  if (end.finish_reason != FinishReason::kNone) send(sse_event(reply_->chunk(end, chunk_usage())));
}

HttpReply CompletionExchange::whole() {
  return {.body = reply_->whole(std::move(choices_), record().usage())};
}

// Log-probabilities can come to many megabytes, which would hold up all streams: the worker writes them.
void CompletionExchange::finish_whole() {
  struct Parts {
    ReplyWriter writer;
    std::vector<std::vector<int32_t>> shown_prompts;  // choices point into it
    std::vector<ChoicePiece> choices;
    Usage usage;
    HttpReply reply;
  };
  const size_t bytes = estimated_bytes(choices_);
  const auto parts = std::make_shared<Parts>(Parts{.writer = std::move(*reply_),
                                                   .shown_prompts = std::move(shown_prompts_),
                                                   .choices = std::move(choices_),
                                                   .usage = record().usage(),
                                                   .reply = {}});
  work_.run_sized(bytes, weak_from_this(), [this, parts]() -> std::function<void()> {
    parts->reply.body = parts->writer.whole(std::move(parts->choices), parts->usage);
    return [this, parts] { finish_with(std::move(parts->reply)); };
  });
}

std::string CompletionExchange::stream_end() {
  std::string end;
  if (request_.reply.include_usage) end = sse_event(reply_->usage_chunk(record().usage()));
  return end.append(kSseDone);
}

std::string CompletionExchange::stream_failure(const ApiError& error) {
  return sse_event(dump_json(error_json(error))).append(kSseDone);
}

}  // namespace fathom
