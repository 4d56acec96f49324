#include "schedule/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace fathom {

Status SchedulerConfig::validate() const {
  if (max_num_seqs < 1) return invalid_argument("max_num_seqs must be at least 1, is {}", max_num_seqs);
  if (max_num_waiting < 1)
    return invalid_argument("max_num_waiting must be at least 1, is {}", max_num_waiting);
  if (max_num_batched_tokens < max_num_seqs)
    return invalid_argument("max_num_batched_tokens must be at least max_num_seqs {}, is {}", max_num_seqs,
                            max_num_batched_tokens);
  if (min_chunk_tokens < 1)
    return invalid_argument("min_chunk_tokens must be at least 1, is {}", min_chunk_tokens);
  if (max_model_len < 2) return invalid_argument("max_model_len must be at least 2, is {}", max_model_len);
  return ok_status();
}

Scheduler::Scheduler(const SchedulerConfig& config, PagePool& pool) : config_(config), pool_(&pool) {
  const Status status = config.validate();
  FATHOM_CHECK(status.ok(), "{}", status.message());
}

Result<SequenceId> Scheduler::submit(std::vector<int32_t> prompt, int64_t max_tokens) {
  const int64_t prompt_len = static_cast<int64_t>(prompt.size());
  if (prompt_len == 0) return invalid_argument("the prompt is empty");
  if (max_tokens < 1) return invalid_argument("max_tokens must be at least 1, is {}", max_tokens);
  if (prompt_len >= config_.max_model_len)
    return invalid_argument("the prompt must have fewer tokens than max_model_len {}, has {}",
                            config_.max_model_len, prompt_len);
  if (prompt_len > pool_->capacity())
    return invalid_argument("the prompt needs {} cache pages, the cache has {} of {} tokens",
                            pool_->num_pages_for(prompt_len), pool_->num_pages(), pool_->block_size());
  const int64_t num_waiting = statistics().num_waiting;
  if (num_waiting >= config_.max_num_waiting)
    return resource_exhausted("{} requests wait, max_num_waiting is {}", num_waiting,
                              config_.max_num_waiting);

  auto sequence = std::make_unique<Sequence>(*pool_);
  sequence->id = next_id_++;
  sequence->tokens = std::move(prompt);
  sequence->prompt_len = prompt_len;
  // The last token's latent is never needed, so a pool holds sequences of one token more than its capacity.
  const int64_t room = std::min(config_.max_model_len, pool_->capacity() + 1) - prompt_len;
  sequence->max_len = prompt_len + std::min(max_tokens, room);
  line_.push_back(std::move(sequence));
  return line_.back()->id;
}

bool Scheduler::finish(SequenceId id, FinishReason reason) {
  FATHOM_CHECK(reason != FinishReason::kNone, "sequence {}", id);
  Sequence* sequence = find_mutable(id);
  if (sequence == nullptr) return false;
  sequence->state = SequenceState::kFinished;
  sequence->finish_reason = reason;
  sequence->pages.release();
  return true;
}

const BatchPlan& Scheduler::plan() {
  FATHOM_CHECK(plan_state_ == PlanState::kCommitted, "the last plan of {} segments is not committed",
               plan_.segments.size());
  plan_state_ = PlanState::kPending;
  forget_finished();
  extend_running();
  admit();
  share_budget();
  emit_segments();
  return plan_;
}

void Scheduler::commit(std::span<const int32_t> sampled) {
  FATHOM_CHECK(plan_state_ == PlanState::kPending, "no plan to commit");
  FATHOM_CHECK(static_cast<int64_t>(sampled.size()) == plan_.num_logits, "{} sampled tokens for {} rows",
               sampled.size(), plan_.num_logits);
  plan_state_ = PlanState::kCommitted;
  size_t next_sampled = 0;
  for (const Segment& segment : plan_.segments) {
    const int32_t token = segment.wants_logits ? sampled[next_sampled++] : 0;
    Sequence& sequence = *find_mutable(segment.sequence_id);
    if (sequence.state == SequenceState::kFinished) continue;
    sequence.num_computed = segment.end;
    if (!segment.wants_logits) continue;
    sequence.tokens.push_back(token);
    if (sequence.num_tokens() >= sequence.max_len) finish(sequence.id, FinishReason::kLength);
  }
}

const Sequence* Scheduler::find(SequenceId id) const {
  const auto place =
      std::lower_bound(line_.begin(), line_.end(), id,
                       [](const auto& sequence, SequenceId wanted) { return sequence->id < wanted; });
  return place != line_.end() && (*place)->id == id ? place->get() : nullptr;
}

Sequence* Scheduler::find_mutable(SequenceId id) { return const_cast<Sequence*>(find(id)); }

bool Scheduler::idle() const {
  return std::all_of(line_.begin(), line_.end(),
                     [](const auto& sequence) { return sequence->state == SequenceState::kFinished; });
}

SchedulerStatistics Scheduler::statistics() const {
  SchedulerStatistics statistics;
  for (const auto& sequence : line_) {
    if (sequence->state == SequenceState::kWaiting) ++statistics.num_waiting;
    if (sequence->state == SequenceState::kRunning) ++statistics.num_running;
  }
  statistics.num_preemptions = num_preemptions_;
  statistics.num_pages_used = pool_->num_used();
  statistics.num_pages = pool_->num_pages();
  return statistics;
}

void Scheduler::forget_finished() {
  const auto running_end = line_.begin() + static_cast<std::ptrdiff_t>(num_running_);
  num_running_ -= static_cast<size_t>(std::count_if(line_.begin(), running_end, [](const auto& sequence) {
    return sequence->state == SequenceState::kFinished;
  }));
  std::erase_if(line_, [](const auto& sequence) { return sequence->state == SequenceState::kFinished; });
}

// Gives the running sequences pages for the tokens they got at the last commit, oldest first.
void Scheduler::extend_running() {
  for (size_t i = 0; i < num_running_; ++i) {
    // The newest may be the sequence itself: then it waits, and the loop is at its end.
    while (i < num_running_ && !line_[i]->pages.grow(line_[i]->num_tokens())) preempt_newest();
  }
}

void Scheduler::preempt_newest() {
  FATHOM_CHECK(num_running_ > 1, "{} running, {} of {} pages used", num_running_, pool_->num_used(),
               pool_->num_pages());
  Sequence& newest = *line_[--num_running_];
  newest.pages.release();
  newest.num_computed = 0;
  newest.state = SequenceState::kWaiting;
  ++num_preemptions_;
}

void Scheduler::admit() {
  // Tokens that a step needs to give every running sequence the least it is promised.
  int64_t promised = 0;
  for (size_t i = 0; i < num_running_; ++i)
    promised += std::min(tokens_to_boundary(*line_[i]), config_.min_chunk_tokens);

  while (num_running_ < line_.size() && static_cast<int64_t>(num_running_) < config_.max_num_seqs &&
         promised < config_.max_num_batched_tokens) {
    Sequence& next = *line_[num_running_];
    // A page to grow for every running sequence, this one included.
    const int64_t spare = num_running_ == 0 ? 0 : static_cast<int64_t>(num_running_) + 1;
    if (pool_->num_pages_for(next.num_tokens()) + spare > pool_->num_free()) break;
    const bool grown = next.pages.grow(next.num_tokens());
    FATHOM_CHECK(grown, "{} tokens, {} pages free", next.num_tokens(), pool_->num_free());
    next.state = SequenceState::kRunning;
    ++num_running_;
    promised += std::min(tokens_to_boundary(next), config_.min_chunk_tokens);
  }
}

void Scheduler::share_budget() {
  int64_t budget = config_.max_num_batched_tokens;
  const auto give = [&budget](Grant& grant, int64_t limit) {
    const int64_t more = std::min({grant.need - grant.num_tokens, limit, budget});
    grant.num_tokens += more;
    budget -= more;
  };
  grants_.assign(num_running_, Grant());
  for (size_t i = 0; i < num_running_; ++i) {
    grants_[i].need = tokens_to_boundary(*line_[i]);
    if (is_decode(*line_[i])) give(grants_[i], 1);
  }
  for (Grant& grant : grants_) give(grant, config_.min_chunk_tokens);
  for (Grant& grant : grants_) give(grant, budget);
}

void Scheduler::emit_segments() {
  plan_.segments.clear();
  plan_.num_tokens = 0;
  plan_.num_logits = 0;
  const auto emit = [this](const Sequence& sequence, int64_t num_tokens) {
    const int64_t end = sequence.num_computed + num_tokens;
    const bool wants_logits = end == sequence.num_tokens();
    plan_.segments.push_back({sequence.id, sequence.num_computed, end, wants_logits});
    plan_.num_tokens += num_tokens;
    plan_.num_logits += wants_logits ? 1 : 0;
  };
  for (size_t i = 0; i < num_running_; ++i) {
    if (is_decode(*line_[i])) emit(*line_[i], grants_[i].num_tokens);
  }
  for (size_t i = 0; i < num_running_; ++i) {
    if (!is_decode(*line_[i]) && grants_[i].num_tokens > 0) emit(*line_[i], grants_[i].num_tokens);
  }
}

// One generated token to compute.
bool Scheduler::is_decode(const Sequence& sequence) const {
  return sequence.num_computed >= sequence.prompt_len && sequence.num_computed + 1 == sequence.num_tokens();
}

int64_t Scheduler::tokens_to_boundary(const Sequence& sequence) const {
  const int64_t boundary =
      sequence.num_computed < sequence.prompt_len ? sequence.prompt_len : sequence.num_tokens();
  return boundary - sequence.num_computed;
}

Status Scheduler::check_integrity() const {
  std::vector<PageId> held;
  for (size_t i = 0; i < line_.size(); ++i) {
    const Sequence& sequence = *line_[i];
    const std::span<const PageId> pages = sequence.pages.pages();
    held.insert(held.end(), pages.begin(), pages.end());
    if (i > 0 && line_[i - 1]->id >= sequence.id)
      return invalid_data("sequence {} is out of order", sequence.id);
    if (sequence.prompt_len < 1 || sequence.num_tokens() < sequence.prompt_len ||
        sequence.num_tokens() > sequence.max_len || sequence.max_len > config_.max_model_len)
      return invalid_data("sequence {}: prompt_len {}, {} tokens, max_len {}", sequence.id,
                          sequence.prompt_len, sequence.num_tokens(), sequence.max_len);
    const bool finished = sequence.state == SequenceState::kFinished;
    if (finished != (sequence.finish_reason != FinishReason::kNone))
      return invalid_data("sequence {}: state and finish reason disagree", sequence.id);
    if (finished) {
      if (!pages.empty()) return invalid_data("finished sequence {} holds pages", sequence.id);
      continue;
    }
    if ((sequence.state == SequenceState::kRunning) != (i < num_running_))
      return invalid_data("sequence {}: state disagrees with its place {} of {} running", sequence.id, i,
                          num_running_);
    if (sequence.num_computed < 0 || sequence.num_computed >= sequence.num_tokens() ||
        sequence.num_computed > sequence.pages.capacity())
      return invalid_data("sequence {}: {} computed of {} tokens, room for {}", sequence.id,
                          sequence.num_computed, sequence.num_tokens(), sequence.pages.capacity());
    if (sequence.state == SequenceState::kWaiting && (sequence.num_computed != 0 || !pages.empty()))
      return invalid_data("waiting sequence {} has {} computed tokens, {} pages", sequence.id,
                          sequence.num_computed, pages.size());
  }
  return pool_->check_integrity(held);
}

}  // namespace fathom
