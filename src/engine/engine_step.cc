// One step: plan, compute, draw, commit, tell.
#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "engine/engine_impl.h"

namespace fathom {
namespace {

// While someone waits for their next token, a step is no longer than makes a step of one token this share of
// it: from there on larger chunks of prompts hardly cost less a token, and those who wait only wait longer.
constexpr double kFixedShare = 0.2;
constexpr int64_t kLeastStepTokens = 64;

}  // namespace

double Engine::Impl::now() const { return options.clock ? options.clock() : monotonic_seconds(); }

size_t Engine::Impl::num_drawable() const {
  const int64_t width = config.vocab_size;
  return static_cast<size_t>(tokenizer ? std::min<int64_t>(width, tokenizer->vocab_size()) : width);
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
                        .drafts = sequence.drafts,
                        .num_logits = segment.num_logits,
                        .home = sequence.home});
  }
}

void Engine::Impl::plan_draws(const BatchPlan& plan) {
  row_draws.clear();
  for (const Segment& segment : plan.segments) {
    if (segment.num_logits == 0) continue;
    const Sequence& sequence = *scheduler->find(segment.sequence_id);
    const Choice& choice = choices.at(segment.sequence_id);
    const auto prompt_len = static_cast<size_t>(sequence.prompt_len);
    for (int64_t row = 0; row < segment.num_logits; ++row) {
      const size_t num_generated = sequence.tokens.size() - prompt_len + static_cast<size_t>(row);
      row_draws.push_back(choice.draw_at(prompt_len, num_generated));
    }
  }
}

// The tokens that one choice's rows give it: a draft that is the token drawn makes the next row count too.
void Engine::Impl::advance(const Draw& draw, DrawRoom& room, Outcome& outcome) {
  const Segment& segment = *draw.segment;
  const Sequence& sequence = *scheduler->find(segment.sequence_id);
  const std::span<const int32_t> tokens(sequence.tokens);
  const auto prompt_len = static_cast<size_t>(sequence.prompt_len);
  Choice& choice = choices.at(segment.sequence_id);
  std::span<const int32_t> so_far = tokens.subspan(prompt_len);
  if (segment.num_logits > 1) room.generated.assign(so_far.begin(), so_far.end());
  outcome.id = segment.sequence_id;
  for (size_t row = 0;; ++row) {
    Result<Choice::Step> step = choice.next(draw.rows[row], tokens.first(prompt_len), so_far, room.workspace);
    if (!step.ok()) {
      outcome.status = step.status();
      return;
    }
    const int32_t id = outcome.steps.emplace_back(std::move(step).value()).token.id;
    if (outcome.steps.back().stops || row == sequence.drafts.size() || sequence.drafts[row] != id) return;
    room.generated.push_back(id);
    so_far = room.generated;
  }
}

// Choices draw independently of each other, on all threads. Outcomes are in the order of the segments.
void Engine::Impl::draw_all(const BatchPlan& plan, std::span<const DrawnRow> rows) {
  draws.clear();
  const DrawnRow* next = rows.data();
  for (const Segment& segment : plan.segments) {
    if (segment.num_logits == 0) continue;
    draws.push_back({&segment, next});
    next += segment.num_logits;
  }
  outcomes.clear();
  outcomes.resize(draws.size());
  draw_rooms.resize(static_cast<size_t>(backend->num_host_threads()));
  backend->share_out(std::ssize(draws), [&](int thread, int64_t i) {
    DrawRoom& room = draw_rooms[static_cast<size_t>(thread)];
    const auto index = static_cast<size_t>(i);
    try {
      advance(draws[index], room, outcomes[index]);
    } catch (...) {
      room.failure = std::current_exception();
    }
  });
  for (DrawRoom& room : draw_rooms)
    if (room.failure) std::rethrow_exception(std::exchange(room.failure, nullptr));
}

void Engine::Impl::take_rows(const BatchPlan& plan, std::span<const DrawnRow> rows) {
  draw_all(plan, rows);
  new_tokens.clear();
  new_counts.clear();
  for (const Outcome& outcome : outcomes) {
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

Status Engine::Impl::prepare_plan() {
  const int64_t most = options.max_num_batched_tokens;
  const std::span<const Sequence* const> running = scheduler->running();
  const bool is_bounded = options.step_length == StepLength::kBalanced &&
                          std::any_of(running.begin(), running.end(),
                                      [](const Sequence* sequence) { return sequence->is_decode(); });
  scheduler->set_step_tokens(is_bounded ? balanced_step_tokens(costs, kFixedShare, kLeastStepTokens, most)
                                        : most);
  return drafter ? drafter->propose(*scheduler) : ok_status();
}

StepWork Engine::Impl::work_of(const BatchPlan& plan) const {
  StepWork work{.num_tokens = plan.num_tokens, .num_logits = plan.num_logits};
  for (const Segment& segment : plan.segments) {
    const auto queries = static_cast<double>(segment.end - segment.begin);
    const double pairs = queries * static_cast<double>(segment.begin + 1 + segment.end) / 2;
    const bool is_expanded = segment.begin < scheduler->find(segment.sequence_id)->num_expanded;
    (is_expanded ? work.expanded_pairs : work.absorbed_pairs) += pairs;
    if (is_expanded) work.num_expanded += segment.begin;
    work.num_keys += segment.end;
  }
  return work;
}

Status Engine::Impl::compute(const BatchPlan& plan) {
  for (const PageCopy& copy : plan.copies) runner->copy_page(copy);
  lay_out(plan);
  plan_draws(plan);
  FATHOM_ASSIGN_OR_RETURN(const float* logits, runner->run(segments));
  FATHOM_ASSIGN_OR_RETURN(const std::span<const DrawnRow> rows, row_reader->read(logits, row_draws));
  take_rows(plan, rows);
  return score_prompts(plan);
}

Status Engine::step() {
  Impl& impl = *impl_;
  FATHOM_RETURN_IF_ERROR(impl.prepare_plan());
  const double started = impl.now();
  const BatchPlan& plan = impl.scheduler->plan();
  if (plan.segments.empty()) {
    impl.scheduler->commit({}, {});
    return ok_status();
  }
  ++impl.num_steps;
  impl.num_computed_tokens += plan.num_tokens;
  impl.last_step = impl.work_of(plan);
  FATHOM_RETURN_IF_ERROR(impl.compute(plan));
  const double seconds = impl.now() - started;
  impl.last_step.seconds = seconds;
  if (seconds > 0) impl.costs.observe(plan.num_tokens, seconds);
  if (impl.drafter)
    FATHOM_RETURN_IF_ERROR(impl.drafter->observe(*impl.scheduler, plan, impl.new_counts, seconds));
  impl.scheduler->commit(impl.new_tokens, impl.new_counts);
  for (const Impl::Outcome& outcome : impl.outcomes) impl.deliver(outcome);
  return ok_status();
}

}  // namespace fathom
