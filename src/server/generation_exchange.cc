#include "server/generation_exchange.h"

namespace fathom {

ApiError error_of_event(const GenerationEvent& event) {
  if (event.timed_out) return {.status = 504, .message = event.status.message(), .code = "deadline_exceeded"};
  if (event.rank_lost) return rank_lost_error(event.status);
  if (event.finish_reason == FinishReason::kCancelled) return unavailable("the server is shutting down");
  return api_error_of(event.status, "");
}

void GenerationExchange::begin(GenerationRequest request, Delivery delivery) {
  if (state_ == State::kEnded) return;  // aborted while it was read
  delivery_ = delivery;
  num_sequences_ = static_cast<size_t>(request.num_sequences());
  int64_t prompt_tokens = 0;
  for (const auto& prompt : request.prompts) prompt_tokens += static_cast<int64_t>(prompt.size());
  record_.begin(prompt_tokens, num_sequences_, request.n);
  state_ = State::kWaiting;
  auto started = client_.start(std::move(request), *this);
  if (const auto* error = std::get_if<ApiError>(&started)) return fail(*error);
  generation_ = std::get<std::unique_ptr<Generation>>(std::move(started));
}

// One request's failure is not the others', whose events come behind it.
void GenerationExchange::on_event(const GenerationEvent& event) {
  try {
    handle(event);
  } catch (const std::exception& error) {
    break_off(error.what());
  }
}

void GenerationExchange::break_off(const std::string& cause) {
  cause_ = cause;
  fail(unexpected_failure());
}

void GenerationExchange::handle(const GenerationEvent& event) {
  if (state_ == State::kEnded) return;
  if (event.finish_reason == FinishReason::kError || event.finish_reason == FinishReason::kCancelled) {
    const ApiError error = error_of_event(event);
    if (error.status == 500) cause_ = event.status.message();
    return fail(error);
  }
  const bool is_first_token =
      event.kind == GenerationEventKind::kToken && record_.usage().completion_tokens == 0;
  record_.observe(event);
  if (event.kind == GenerationEventKind::kStarted) return;
  if (event.kind == GenerationEventKind::kAccepted) {
    if (delivery_ == Delivery::kStream) {
      state_ = State::kStreaming;
      writer_.begin_stream(stream_head());
    }
    opened();
    return writer_.send_now();
  }
  take(event);
  if (is_first_token && state_ == State::kStreaming) writer_.known_since(event.time);
  if (event.ends() && ++num_ended_ == num_sequences_) finish();
  writer_.send_now();
}

void GenerationExchange::send(const std::string& bytes) {
  if (!bytes.empty()) writer_.write(bytes);
}

// The state changes last: until then what throws can still be told to the client.
void GenerationExchange::finish() {
  if (state_ != State::kStreaming) return finish_whole();
  send(stream_end());
  state_ = State::kEnded;
  writer_.end_stream();
}

void GenerationExchange::finish_with(HttpReply reply) {
  if (state_ == State::kEnded) return;  // aborted while it was written
  writer_.reply(std::move(reply));
  state_ = State::kEnded;
}

bool GenerationExchange::abort() {
  if (state_ == State::kEnded) return false;
  fail({.status = 503, .message = "the request was aborted", .code = "aborted"});
  return true;
}

void GenerationExchange::fail(const ApiError& error) {
  if (state_ == State::kEnded) return;
  const bool streaming = state_ == State::kStreaming;
  state_ = State::kEnded;
  generation_.reset();
  if (!streaming) return writer_.reply(refusal(error));
  send(stream_failure(error));
  writer_.end_stream();
}

std::string GenerationExchange::log_note() const {
  if (!cause_.empty()) return " (" + cause_ + ")";
  return generation_ ? record_.log_note() : std::string();
}

HttpReply GenerationExchange::stream_head() const { return event_stream_head(); }

HttpReply event_stream_head() {
  return {.status = 200,
          .content_type = "text/event-stream; charset=utf-8",
          .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
}

}  // namespace fathom
