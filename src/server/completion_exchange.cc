#include "server/completion_exchange.h"

#include "base/clock.h"
#include "server/sse.h"

namespace fathom {
namespace {

HttpReply stream_head() {
  return {.status = 200,
          .content_type = "text/event-stream; charset=utf-8",
          .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
}

ApiError error_of(const GenerationEvent& event) {
  if (event.timed_out) return {.status = 504, .message = event.status.message(), .code = "deadline_exceeded"};
  if (event.finish_reason == FinishReason::kCancelled) return unavailable("the server is shutting down");
  return api_error_of(event.status, "");
}

}  // namespace

void CompletionExchange::start(std::variant<CompletionRequest, ApiError> parsed) {
  if (const auto* error = std::get_if<ApiError>(&parsed)) return fail(*error);
  request_ = std::get<CompletionRequest>(std::move(parsed));
  reply_.emplace(request_.reply, request_id_, model_);
  for (const auto& prompt : request_.generation.prompts)
    usage_.prompt_tokens += static_cast<int64_t>(prompt.size());
  if (request_.reply.token_ids) shown_prompts_ = request_.generation.prompts;
  choices_.resize(static_cast<size_t>(request_.generation.num_sequences()));
  for (size_t i = 0; i < choices_.size(); ++i) {
    choices_[i].index = static_cast<int32_t>(i);
    if (request_.reply.token_ids) choices_[i].prompt_ids = &shown_prompts_[prompt_of(i)];
  }
  submitted_ = monotonic_seconds();
  state_ = State::kWaiting;
  GenerationRequest generation = std::move(request_.generation);
  request_.generation.n = generation.n;
  request_.generation.prompt_logprobs = generation.prompt_logprobs;
  auto started = client_.start(std::move(generation), *this);
  if (const auto* error = std::get_if<ApiError>(&started)) return fail(*error);
  generation_ = std::get<std::unique_ptr<Generation>>(std::move(started));
}

// The engine has the request. What is known before its first step is shown at once.
void CompletionExchange::open() {
  const bool scores = request_.generation.prompt_logprobs.has_value();
  if (request_.reply.stream) {
    state_ = State::kStreaming;
    writer_.begin_stream(stream_head());
  }
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (request_.reply.echo && !scores) choices_[i].text = request_.echoed[prompt_of(i)];
    if (!request_.reply.stream) continue;
    if (request_.reply.kind == CompletionKind::kChat) {
      send(reply_->role_chunk(static_cast<int32_t>(i)));
    } else if (!choices_[i].text.empty()) {
      send(reply_->chunk(choices_[i], chunk_usage()));
      choices_[i].text.clear();
    }
  }
}

void CompletionExchange::send(std::string_view json) { writer_.write(sse_event(json)); }

std::optional<Usage> CompletionExchange::chunk_usage() const {
  return request_.reply.continuous_usage ? std::optional(usage_) : std::nullopt;
}

void CompletionExchange::on_event(const GenerationEvent& event) {
  if (state_ == State::kEnded) return;
  if (event.finish_reason == FinishReason::kError || event.finish_reason == FinishReason::kCancelled) {
    return fail(error_of(event));
  }
  switch (event.kind) {
    case GenerationEventKind::kAccepted:
      return open();
    case GenerationEventKind::kStarted:
      if (started_ == 0) started_ = event.time;
      return;
    case GenerationEventKind::kPromptScores:
      return add_scores(event);
    case GenerationEventKind::kToken:
      add_token(event);
      break;
    case GenerationEventKind::kEnd:
      break;
  }
  if (request_.reply.stream) stream_piece(event);
  if (!event.ends()) return;
  choices_[static_cast<size_t>(event.index)].finish_reason = event.finish_reason;
  if (++num_finished_ == choices_.size()) finish();
}

// The scores of one prompt belong to all its choices.
void CompletionExchange::add_scores(const GenerationEvent& event) {
  const auto first = static_cast<size_t>(event.index);
  for (size_t i = first; i < first + static_cast<size_t>(request_.generation.n); ++i) {
    choices_[i].text = request_.echoed[prompt_of(i)];
    choices_[i].prompt_scores = event.prompt_scores;
    if (!request_.reply.stream) continue;
    send(reply_->chunk(choices_[i], chunk_usage()));
    choices_[i].text.clear();
    choices_[i].prompt_scores.clear();
  }
}

void CompletionExchange::add_token(const GenerationEvent& event) {
  if (first_token_ == 0) first_token_ = event.time;
  last_token_ = event.time;
  ++usage_.completion_tokens;
  // The choices of a prompt have it in common.
  if (event.index % request_.generation.n == 0) usage_.cached_tokens += event.cached_tokens;
  if (request_.reply.stream) return;
  ChoicePiece& choice = choices_[static_cast<size_t>(event.index)];
  choice.text += event.text;
  if (request_.reply.logprobs || request_.reply.token_ids) choice.tokens.push_back(event.token);
}

void CompletionExchange::stream_piece(const GenerationEvent& event) {
  ChoicePiece piece{.index = event.index, .text = event.text};
  const bool shows_tokens = request_.reply.logprobs || request_.reply.token_ids;
  if (shows_tokens && event.kind == GenerationEventKind::kToken) piece.tokens.push_back(event.token);
  if (!piece.text.empty() || !piece.tokens.empty()) {
    ChoicePiece& choice = choices_[static_cast<size_t>(event.index)];
    piece.prompt_ids = std::exchange(choice.prompt_ids, nullptr);  // with the first piece
    send(reply_->chunk(piece, chunk_usage()));
  }
  if (!event.ends()) return;
  send(reply_->chunk({.index = event.index, .finish_reason = event.finish_reason}, chunk_usage()));
}

void CompletionExchange::finish() {
  state_ = State::kEnded;
  if (!request_.reply.stream) return writer_.reply({.body = reply_->whole(choices_, usage_)});
  if (request_.reply.include_usage) send(reply_->usage_chunk(usage_));
  writer_.write(kSseDone);
  writer_.end_stream();
}

void CompletionExchange::fail(const ApiError& error) {
  const bool streaming = state_ == State::kStreaming;
  state_ = State::kEnded;
  generation_.reset();
  if (!streaming) return writer_.reply(error_reply(error));
  send(dump_json(error_json(error)));
  writer_.write(kSseDone);
  writer_.end_stream();
}

std::string CompletionExchange::log_note() const {
  if (!generation_) return {};
  const auto milliseconds = [](double from, double to) {
    return from == 0 || to < from ? 0.0 : (to - from) * 1e3;
  };
  std::string reason;
  for (const ChoicePiece& choice : choices_) {
    reason += reason.empty() ? "" : ",";
    reason += choice.finish_reason == FinishReason::kNone ? "none" : finish_reason_name(choice.finish_reason);
  }
  const auto later_tokens =
      static_cast<double>(usage_.completion_tokens) - static_cast<double>(choices_.size());
  return fmt::format(
      " prompt_tokens={} cached_tokens={} output_tokens={} queue_ms={:.1f} ttft_ms={:.1f} tpot_ms={:.2f} "
      "finish={}",
      usage_.prompt_tokens, usage_.cached_tokens, usage_.completion_tokens,
      milliseconds(submitted_, started_), milliseconds(submitted_, first_token_),
      later_tokens > 0
          ? milliseconds(first_token_, last_token_) * static_cast<double>(choices_.size()) / later_tokens
          : 0,
      reason);
}

}  // namespace fathom
