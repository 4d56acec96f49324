// One step: plan, compute, draw, commit, tell.
#include "base/check.h"
#include "engine/engine_impl.h"

namespace fathom {

Status Engine::Impl::copy_pages(const BatchPlan& plan) {
  for (const PageCopy& copy : plan.copies)
    FATHOM_RETURN_IF_ERROR(cache->copy_page(*backend, copy.from, copy.to, copy.num_tokens));
  return ok_status();
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
                        .num_logits = segment.num_logits});
  }
}

// The tokens that one choice's rows give it.
void Engine::Impl::advance(const Segment& segment, std::span<const float> logits, Outcome& outcome) {
  const Sequence& sequence = *scheduler->find(segment.sequence_id);
  const std::span<const int32_t> tokens(sequence.tokens);
  const auto prompt_len = static_cast<size_t>(sequence.prompt_len);
  outcome.id = segment.sequence_id;
  Result<Choice::Step> step =
      choices.at(segment.sequence_id)
          .next(logits, tokens.first(prompt_len), tokens.subspan(prompt_len), workspace);
  if (step.ok()) {
    outcome.steps.push_back(std::move(step).value());
  } else {
    outcome.status = step.status();
  }
}

void Engine::Impl::take_logits(const BatchPlan& plan, std::span<const float> logits) {
  outcomes.clear();
  new_tokens.clear();
  new_counts.clear();
  for (const Segment& segment : plan.segments) {
    if (segment.num_logits == 0) continue;
    const auto count = static_cast<size_t>(segment.num_logits * config.vocab_size);
    Outcome& outcome = outcomes.emplace_back();
    advance(segment, logits.first(count), outcome);
    logits = logits.subspan(count);
    for (const Choice::Step& step : outcome.steps) new_tokens.push_back(step.token.id);
    // An answer that fails ends, but the scheduler wants a token all the same.
    if (!outcome.status.ok()) new_tokens.push_back(0);
    new_counts.push_back(static_cast<int32_t>(outcome.steps.size()) + (outcome.status.ok() ? 0 : 1));
  }
}

// One token's way out. The scheduler has it already.
void Engine::Impl::deliver(SequenceId id, const Choice::Step& step, bool is_last) {
  const auto found = choices.find(id);
  if (found == choices.end()) return;  // ended by a listener
  Choice& choice = found->second;
  const Sequence& sequence = *scheduler->find(id);
  const std::shared_ptr<ActiveRequest> request = choice.shared_request();
  RequestEvent event{.request_id = request->id,
                     .choice = choice.index(),
                     .token_id = step.token.id,
                     .logprob = step.token.logprob,
                     .top_logprobs = step.token.top_logprobs};
  if (step.is_first) event.num_cached_tokens = sequence.num_cached;
  std::optional<PromptScores> scores;
  if (request->scorer && choice.index() == 0) {
    scores = std::move(*request->scorer).scores();
    request->scorer.reset();
    event.prompt_scores = &*scores;
  }
  std::string text = step.text;
  if (step.stops) {
    scheduler->finish(id, FinishReason::kStop);
    event.finish_reason = FinishReason::kStop;
  } else if (is_last && sequence.state == SequenceState::kFinished) {
    text += choice.flush();
    event.finish_reason = sequence.finish_reason;
  }
  event.text = text;
  if (event.finish_reason != FinishReason::kNone) {
    end(id, std::move(event));
  } else {
    request->listener(event);
  }
}

void Engine::Impl::deliver(const Outcome& outcome) {
  for (const Choice::Step& step : outcome.steps)
    deliver(outcome.id, step, outcome.status.ok() && &step == &outcome.steps.back());
  if (outcome.status.ok()) return;
  const auto found = choices.find(outcome.id);
  if (found == choices.end()) return;
  end_all(found->second.request().id, {.finish_reason = FinishReason::kError, .status = outcome.status});
}

Status Engine::step() {
  Impl& impl = *impl_;
  const BatchPlan& plan = impl.scheduler->plan();
  if (plan.segments.empty()) {
    impl.scheduler->commit({}, {});
    return ok_status();
  }
  ++impl.num_steps;
  FATHOM_RETURN_IF_ERROR(impl.copy_pages(plan));
  impl.lay_out(plan);
  FATHOM_ASSIGN_OR_RETURN(const std::span<const float> logits, impl.runner->run(impl.segments));
  impl.take_logits(plan, logits);
  FATHOM_RETURN_IF_ERROR(impl.score_prompts(plan));
  impl.scheduler->commit(impl.new_tokens, impl.new_counts);
  for (const Impl::Outcome& outcome : impl.outcomes) impl.deliver(outcome);
  return ok_status();
}

}  // namespace fathom
