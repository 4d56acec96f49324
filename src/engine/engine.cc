#include "engine/engine.h"

#include <limits>

#include "base/check.h"
#include "engine/engine_impl.h"

namespace fathom {

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
    case FinishReason::kNone:
      break;
  }
  return "";
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

const ModelConfig& Engine::config() const { return impl_->config; }
const GenerationConfig& Engine::generation_config() const { return impl_->generation_config; }
const Tokenizer* Engine::tokenizer() const { return impl_->tokenizer.get(); }
int64_t Engine::max_model_len() const { return impl_->max_model_len; }
bool Engine::is_waiting(RequestId id) const {
  const Sequence* sequence = impl_->scheduler->find(id);
  return sequence != nullptr && sequence->state == SequenceState::kWaiting;
}
bool Engine::has_work() const { return !impl_->scheduler->idle(); }

Status Engine::Impl::check_request(const Request& request) const {
  FATHOM_RETURN_IF_ERROR(request.sampling.validate());
  if (!request.sampling.stop_strings.empty() && !tokenizer) {
    return invalid_argument("stop_strings: the model folder has no tokenizer");
  }
  for (const LogitBias& entry : request.sampling.logit_bias) {
    if (entry.token_id >= config.vocab_size) {
      return invalid_argument("logit_bias: token id {} is outside [0, {})", entry.token_id,
                              config.vocab_size);
    }
  }
  for (int32_t id : request.prompt_ids) {
    if (id < 0 || id >= config.vocab_size) {
      return invalid_argument("prompt: token id {} is outside [0, {})", id, config.vocab_size);
    }
  }
  return PromptScorer::check(request.scoring, request.prompt_ids.size(), config.vocab_size);
}

std::vector<int32_t> Engine::Impl::early_end_ids(const SamplingParams& sampling) const {
  if (sampling.min_tokens == 0) return {};
  std::vector<int32_t> ids = sampling.stop_token_ids;
  if (!sampling.ignore_eos) ids.insert(ids.end(), end_ids.begin(), end_ids.end());
  return ids;
}

Result<RequestId> Engine::submit(Request request, RequestListener listener) {
  Impl& impl = *impl_;
  FATHOM_RETURN_IF_ERROR(impl.check_request(request));
  const int64_t max_tokens = request.sampling.max_tokens.value_or(impl.max_model_len);
  std::optional<PromptScorer> scorer;
  int64_t max_cached_tokens = std::numeric_limits<int64_t>::max();
  if (PromptScorer::asks(request.scoring)) {
    scorer.emplace(std::move(request.scoring), request.prompt_ids.size());
    // Positions that are wanted have to be computed.
    max_cached_tokens = scorer->first_position();
  }
  FATHOM_ASSIGN_OR_RETURN(const std::vector<SequenceId> ids,
                          impl.scheduler->submit({.prompt = std::move(request.prompt_ids),
                                                  .max_tokens = max_tokens,
                                                  .max_cached_tokens = max_cached_tokens}));
  const RequestId id = ids.front();
  RequestStream stream(impl.tokenizer.get(), request.sampling, impl.end_ids);
  const uint64_t key = sampler_key(request.sampling.seed.value_or(0));
  std::vector<int32_t> early_end_ids = impl.early_end_ids(request.sampling);
  impl.requests.emplace(id, Impl::ActiveRequest{std::move(request.sampling), key, std::move(early_end_ids),
                                                std::move(stream), std::move(listener), std::move(scorer)});
  return id;
}

void Engine::cancel(RequestId id) {
  if (!impl_->requests.contains(id)) return;
  impl_->scheduler->cancel(id);
  impl_->end(id, {.request_id = id, .finish_reason = FinishReason::kCancelled});
}

// Calls the listener for the last time. The request is gone before, so that the listener may do as it likes.
void Engine::Impl::end(RequestId id, RequestEvent event) {
  auto node = requests.extract(id);
  node.mapped().listener(event);
}

void Engine::Impl::fail(RequestId id, const Status& status) {
  scheduler->finish(id, FinishReason::kError);
  if (requests.contains(id))
    end(id, {.request_id = id, .finish_reason = FinishReason::kError, .status = status});
}

void Engine::Impl::lay_out(const BatchPlan& plan) {
  segments.clear();
  for (const Segment& segment : plan.segments) {
    const Sequence& sequence = *scheduler->find(segment.sequence_id);
    segments.push_back({.tokens = sequence.tokens,
                        .pages = sequence.pages.pages(),
                        .begin = segment.begin,
                        .end = segment.end,
                        .prompt_len = sequence.prompt_len,
                        .logits = segment.num_logits > 0 ? LogitsWanted::kLast : LogitsWanted::kNone});
  }
}

void Engine::Impl::sample_rows(const BatchPlan& plan, std::span<const float> logits) {
  const auto width = static_cast<size_t>(config.vocab_size);
  sampled.clear();
  sample_status.clear();
  sampled_ids.clear();
  for (const Segment& segment : plan.segments) {
    if (segment.num_logits == 0) continue;
    const Sequence& sequence = *scheduler->find(segment.sequence_id);
    const ActiveRequest& request = requests.at(segment.sequence_id);
    const std::span<const int32_t> tokens(sequence.tokens);
    const auto prompt_len = static_cast<size_t>(sequence.prompt_len);
    const bool too_early = sequence.num_tokens() - sequence.prompt_len < request.sampling.min_tokens;
    Result<SampledToken> token =
        sample({.logits = logits.subspan(sampled.size() * width, width),
                .prompt_tokens = tokens.first(prompt_len),
                .generated_tokens = tokens.subspan(prompt_len),
                .random_key = request.random_key,
                .banned_tokens = too_early ? std::span(request.end_ids) : std::span<const int32_t>()},
               request.sampling, workspace);
    sample_status.push_back(token.status());
    sampled.push_back(token.ok() ? std::move(token).value() : SampledToken{});
    sampled_ids.push_back(sampled.back().id);
  }
}

// The new token's way out: text, stop, listener. The scheduler has it already.
void Engine::Impl::deliver(RequestId id, const SampledToken& token) {
  const auto found = requests.find(id);
  if (found == requests.end()) return;  // cancelled by another request's listener
  RequestStream::Piece piece = found->second.stream.push(token.id);
  RequestEvent event{
      .request_id = id, .token_id = token.id, .logprob = token.logprob, .top_logprobs = token.top_logprobs};
  std::optional<PromptScores> scores;
  if (found->second.scorer) {
    scores = std::move(*found->second.scorer).scores();
    found->second.scorer.reset();
    event.prompt_scores = &*scores;
  }
  if (piece.verdict == StopVerdict::kStop) {
    scheduler->finish(id, FinishReason::kStop);
    event.finish_reason = FinishReason::kStop;
  } else if (const Sequence& sequence = *scheduler->find(id); sequence.state == SequenceState::kFinished) {
    piece.text += found->second.stream.flush();
    event.finish_reason = sequence.finish_reason;
  }
  event.text = piece.text;
  if (event.finish_reason != FinishReason::kNone) {
    end(id, event);
  } else {
    // The listener may submit, which may move the map's entries: call a copy.
    const RequestListener listener = found->second.listener;
    listener(event);
  }
}

Status Engine::step() {
  Impl& impl = *impl_;
  const BatchPlan& plan = impl.scheduler->plan();
  if (plan.segments.empty()) {
    impl.scheduler->commit({}, {});
    return ok_status();
  }
  ++impl.num_steps;
  for (const PageCopy& copy : plan.copies) impl.runner->copy_page(copy);
  impl.lay_out(plan);
  Result<std::span<const float>> logits = impl.runner->run(impl.segments);
  if (!logits.ok()) return logits.status();
  impl.sample_rows(plan, *logits);
  FATHOM_RETURN_IF_ERROR(impl.score_prompts(plan));
  std::vector<RequestId> ids;
  for (const Segment& segment : plan.segments) {
    if (segment.num_logits > 0) ids.push_back(segment.sequence_id);
  }
  impl.scheduler->commit(impl.sampled_ids, std::vector<int32_t>(impl.sampled_ids.size(), 1));
  for (size_t i = 0; i < ids.size(); ++i) {
    if (impl.sample_status[i].ok()) {
      impl.deliver(ids[i], impl.sampled[i]);
    } else {
      impl.fail(ids[i], impl.sample_status[i]);
    }
  }
  return ok_status();
}

Status Engine::score(std::span<const int32_t> ids, const ScoreSink& sink) {
  Impl& impl = *impl_;
  const auto num_tokens = static_cast<int64_t>(ids.size());
  FATHOM_RETURN_IF_ERROR(impl.check_request({.prompt_ids = {ids.begin(), ids.end()}, .sampling = {}}));
  if (num_tokens == 0) return invalid_argument("prompt: empty");
  if (num_tokens > impl.max_model_len) {
    return invalid_argument("prompt: {} tokens are over the limit of {} (max_model_len)", num_tokens,
                            impl.max_model_len);
  }
  PageTable pages(*impl.pool);
  if (!pages.grow(num_tokens)) {
    return resource_exhausted(
        "prompt: {} tokens do not fit into the latent cache of {} tokens; give more --kv-memory", num_tokens,
        impl.pool->capacity());
  }
  const int64_t chunk = std::min(impl.model->options().max_tokens, impl.model->options().max_logits_rows);
  for (int64_t begin = 0; begin < num_tokens; begin += chunk) {
    const SegmentInput segment{.tokens = ids,
                               .pages = pages.pages(),
                               .begin = begin,
                               .end = std::min(num_tokens, begin + chunk),
                               .prompt_len = num_tokens,
                               .logits = LogitsWanted::kAll};
    FATHOM_ASSIGN_OR_RETURN(const std::span<const float> logits, impl.runner->run({&segment, 1}));
    FATHOM_RETURN_IF_ERROR(sink(begin, logits));
  }
  return ok_status();
}

EngineStatistics Engine::statistics() const {
  const SchedulerStatistics scheduler = impl_->scheduler->statistics();
  return {.num_waiting = scheduler.num_waiting,
          .num_running = scheduler.num_running,
          .num_preemptions = scheduler.num_preemptions,
          .num_prompt_tokens = scheduler.num_prompt_tokens,
          .num_cached_tokens = scheduler.num_cached_tokens,
          .num_steps = impl_->num_steps,
          .pages_used = scheduler.num_pages_used,
          .pages_total = scheduler.num_pages};
}

}  // namespace fathom
