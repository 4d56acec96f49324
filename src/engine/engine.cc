#include "engine/engine.h"

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
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

const EngineOptions& Engine::options() const { return impl_->options; }
const ModelConfig& Engine::config() const { return impl_->config; }
const Checkpoint& Engine::checkpoint() const { return *impl_->checkpoint; }
const GenerationConfig& Engine::generation_config() const { return impl_->generation_config; }
const Tokenizer* Engine::tokenizer() const { return impl_->tokenizer.get(); }
int64_t Engine::max_model_len() const { return impl_->max_model_len; }
bool Engine::is_waiting(RequestId id, int32_t choice) const {
  const Sequence* sequence = impl_->scheduler->find(id + static_cast<SequenceId>(choice));
  return sequence != nullptr && sequence->state == SequenceState::kWaiting;
}

std::shared_ptr<const TokenTrie> Engine::token_trie() const {
  Impl& impl = *impl_;
  std::call_once(impl.trie_made, [&impl] {
    if (!impl.tokenizer) return;
    auto made = TokenTrie::create(*impl.tokenizer, impl.end_ids);
    if (made.ok()) {
      impl.trie = std::move(made).value();
    } else {
      log_warning("output constraints are not possible: {}", made.status().message());
    }
  });
  return impl.trie;
}

bool Engine::has_work() const { return !impl_->scheduler->idle(); }

Status Engine::Impl::check_request(const Request& request) const {
  FATHOM_RETURN_IF_ERROR(request.sampling.validate());
  if (request.n < 1) return invalid_argument("n must be at least 1, is {}", request.n);
  if (request.constraint) {
    const auto vocabulary = static_cast<int64_t>(request.constraint->trie().vocabulary());
    if (vocabulary > config.vocab_size) {
      return invalid_argument("constraint: made for {} tokens, the model has {}", vocabulary,
                              config.vocab_size);
    }
  }
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

// A salt that no other request has keeps its prefixes to itself; choices and preempted sequences go on
// finding them.
std::string Engine::Impl::salt_of(const Request& request) {
  return options.prefix_caching == PrefixCaching::kOn ? request.cache_salt
                                                      : fmt::format("request {}", ++num_salts);
}

Result<RequestId> Engine::submit(Request request, RequestListener listener) {
  Impl& impl = *impl_;
  FATHOM_RETURN_IF_ERROR(impl.check_request(request));
  FATHOM_ASSIGN_OR_RETURN(
      const std::vector<SequenceId> ids,
      impl.scheduler->submit({.prompt = request.prompt_ids,
                              .max_tokens = request.sampling.max_tokens.value_or(impl.max_model_len),
                              .priority = request.priority,
                              .salt = impl.salt_of(request),
                              .num_sequences = request.n,
                              // Positions that are wanted have to be computed.
                              .max_cached_tokens = PromptScorer::max_cached_tokens(
                                  request.scoring, static_cast<int64_t>(request.prompt_ids.size()))}));
  const auto active =
      std::make_shared<ActiveRequest>(std::move(request), ids.front(), impl.end_ids, std::move(listener));
  for (size_t i = 0; i < ids.size(); ++i) {
    impl.choices.emplace_hint(impl.choices.end(), ids[i],
                              Choice(active, static_cast<int32_t>(i), impl.tokenizer.get()));
  }
  return active->id;
}

void Engine::cancel(RequestId id) { impl_->end_all(id, {.finish_reason = FinishReason::kCancelled}); }

// Calls the listener for the last time. The choice is gone before, so that the listener may do as it likes.
void Engine::Impl::end(SequenceId id, RequestEvent event) {
  const auto node = choices.extract(id);
  if (drafter) drafter->forget(id);
  const Choice& choice = node.mapped();
  event.request_id = choice.request().id;
  event.choice = choice.index();
  choice.request().listener(event);
}

// All choices that are left. Each listener call may cancel the others.
void Engine::Impl::end_all(RequestId id, const RequestEvent& last) {
  const auto found = choices.lower_bound(id);
  if (found == choices.end() || found->second.request().id != id) return;
  std::vector<SequenceId> ids;
  for (auto it = found; it != choices.end() && it->second.request().id == id; ++it) ids.push_back(it->first);
  for (SequenceId sequence_id : ids) {
    if (!choices.contains(sequence_id)) continue;
    scheduler->finish(sequence_id, last.finish_reason);
    end(sequence_id, last);
  }
}

Status Engine::recount() {
  constexpr double kShare = 0.01;  // of the time
  Impl& impl = *impl_;
  const double begun = monotonic_seconds();
  if (has_work() || begun < impl.next_recount) return ok_status();
  const Status status = impl.scheduler->check_integrity();
  const double ended = monotonic_seconds();
  impl.next_recount = ended + (ended - begun) / kShare;
  return status.with_context("recount of the latent cache");
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
  const auto most_free =
      std::max_element(impl.pools.begin(), impl.pools.end(),
                       [](const auto& a, const auto& b) { return a->num_free() < b->num_free(); });
  PageTable pages(**most_free);
  if (!pages.grow(num_tokens)) {
    return resource_exhausted(
        "prompt: {} tokens do not fit into the latent cache of {} tokens; give more --kv-memory", num_tokens,
        (*most_free)->capacity());
  }
  const int64_t chunk = std::min(impl.model->options().max_tokens, impl.model->options().max_logits_rows);
  for (int64_t begin = 0; begin < num_tokens; begin += chunk) {
    const SegmentInput segment{.tokens = ids,
                               .pages = pages.pages(),
                               .begin = begin,
                               .end = std::min(num_tokens, begin + chunk),
                               .prompt_len = num_tokens,
                               .num_logits = std::min(num_tokens, begin + chunk) - begin,
                               .home = most_free - impl.pools.begin()};
    FATHOM_ASSIGN_OR_RETURN(const float* on_device, impl.runner->run({&segment, 1}));
    FATHOM_ASSIGN_OR_RETURN(const std::span<const float> logits,
                            impl.runner->read_back(on_device, static_cast<size_t>(segment.num_logits)));
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
          .num_computed_tokens = impl_->num_computed_tokens,
          .model_seconds = impl_->runner->model_seconds(),
          .last_step = impl_->last_step,
          .speculation = impl_->drafter ? impl_->drafter->statistics() : SpeculationStatistics(),
          .pages_used = scheduler.num_pages_used,
          .pages_total = scheduler.num_pages,
          .num_caches = std::ssize(impl_->pools)};
}

}  // namespace fathom
