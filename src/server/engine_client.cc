#include "server/engine_client.h"

#include <algorithm>

#include "base/clock.h"
#include "server/submission.h"

namespace fathom {

namespace {

std::optional<ApiError> check_prompts(const GenerationRequest& request, int64_t most) {
  for (const auto& prompt : request.prompts) {
    const auto tokens = static_cast<int64_t>(prompt.size());
    if (most == 0 || tokens <= most) continue;
    return ApiError{
        .status = 400,
        .message = fmt::format("the prompt has {} tokens, the server takes at most {}", tokens, most),
        .param = "prompt",
        .code = "context_length_exceeded",
        .details = {{"n_prompt_tokens", tokens}, {"n_ctx", most}}};
  }
  return std::nullopt;
}

int64_t longest_answer(const std::vector<SequenceTimes>& sequences) {
  int64_t longest = 0;
  for (const SequenceTimes& sequence : sequences) longest = std::max(longest, sequence.output_tokens);
  return longest;
}

}  // namespace

Generation::~Generation() { client_->give_up(ticket_); }

EngineClient::EngineClient(const ServerLimits& limits, int64_t max_running, ServerMetrics& metrics)
    : limits_(limits), max_running_(max_running), metrics_(&metrics) {}

void EngineClient::set_failed(ApiError error) {
  phase_ = EnginePhase::kFailed;
  failure_ = std::move(error);
}

std::optional<ApiError> EngineClient::refusal() const {
  switch (phase_) {
    case EnginePhase::kLoading:
      return unavailable("the model is being loaded");
    case EnginePhase::kDraining:
      return unavailable("the server is shutting down");
    case EnginePhase::kFailed:
      return failure_;
    case EnginePhase::kReady:
      break;
  }
  return std::nullopt;
}

bool EngineClient::is_hung() const {
  return thread_ != nullptr && thread_->seconds_without_progress() > limits_.step_timeout;
}

std::variant<std::unique_ptr<Generation>, ApiError> EngineClient::start(GenerationRequest request,
                                                                        GenerationListener& listener) {
  if (auto error = refusal()) return std::move(*error);
  if (auto error = check_prompts(request, limits_.max_prompt_tokens)) return std::move(*error);
  const int64_t wanted = request.num_sequences();
  if (wanted > capacity()) {
    return bad_request(
        "n", fmt::format("{} answers are more than the server holds at once, {}", wanted, capacity()));
  }
  if (num_sequences_ + wanted > capacity()) {
    return ApiError{.status = 429,
                    .message = fmt::format("the queue is full: {} sequences are under way, {} is the limit",
                                           num_sequences_, capacity()),
                    .code = "queue_full"};
  }
  metrics_->request_submitted(request);
  const uint64_t ticket = next_ticket_++;
  const double now = monotonic_seconds();
  Entry& entry = entries_[ticket];
  entry.listener = &listener;
  for (const auto& prompt : request.prompts) {
    for (int32_t choice = 0; choice < request.n; ++choice) {
      entry.sequences.push_back({.submitted = now, .prompt_tokens = static_cast<int64_t>(prompt.size())});
    }
  }
  num_sequences_ += wanted;
  num_waiting_ += wanted;
  thread_->submit({.ticket = ticket,
                   .prompts = plan_prompts(request),
                   .queue_deadline = now + limits_.queue_timeout,
                   .total_deadline = now + std::min(limits_.total_timeout,
                                                    request.timeout.value_or(limits_.total_timeout))});
  return std::make_unique<Generation>(*this, ticket);
}

void EngineClient::give_up(uint64_t ticket) {
  const auto found = entries_.find(ticket);
  if (found == entries_.end()) return;
  found->second.listener = nullptr;
  metrics_->client_left();
  if (thread_ != nullptr) thread_->cancel(ticket);
}

void EngineClient::cancel_all() {
  for (const auto& [ticket, entry] : entries_) thread_->cancel(ticket);
}

std::vector<EngineClient::Running> EngineClient::running() const {
  std::vector<Running> all;
  for (const auto& [ticket, entry] : entries_) {
    for (const SequenceTimes& times : entry.sequences) {
      if (times.started > 0 && !times.has_ended)
        all.push_back({ticket, times.prompt_tokens, times.output_tokens});
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Running& a, const Running& b) { return a.ticket < b.ticket; });
  return all;
}

void EngineClient::observe(Entry& entry, const GenerationEvent& event) {
  if (event.kind == GenerationEventKind::kAccepted) return;
  SequenceTimes& times = entry.sequences[static_cast<size_t>(event.index)];
  if (event.kind == GenerationEventKind::kStarted) {
    times.started = event.time;
    metrics_->sequence_started(times);
    --num_waiting_;
  }
  if (event.kind == GenerationEventKind::kToken) metrics_->token(times, event.cached_tokens, event.time);
  if (!event.ends()) return;
  metrics_->sequence_ended(times, event);
  times.has_ended = true;
  if (times.started == 0) --num_waiting_;
  --num_sequences_;
  ++entry.num_ended;
}

void EngineClient::deliver(const EngineReport& report) {
  statistics_ = report.statistics;
  for (const GenerationEvent& event : report.events) {
    const auto found = entries_.find(event.ticket);
    if (found == entries_.end()) continue;
    observe(found->second, event);
    GenerationListener* listener = found->second.listener;
    if (found->second.num_ended == found->second.sequences.size()) {
      metrics_->request_ended(longest_answer(found->second.sequences));
      entries_.erase(found);
    }
    if (listener != nullptr) listener->on_event(event);
  }
  if (entries_.empty() && on_idle_) on_idle_();
}

}  // namespace fathom
