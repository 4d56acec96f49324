#include "schedule/scheduler.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace fathom {
namespace {

struct Limit {
  const char* field;
  int64_t least;
  int64_t value;
};

}  // namespace

Status SchedulerConfig::validate() const {
  const Limit limits[] = {
      {"max_num_seqs", 1, max_num_seqs},         {"max_num_waiting", 1, max_num_waiting},
      {"min_chunk_tokens", 1, min_chunk_tokens}, {"max_prefill_tokens", 0, max_prefill_tokens},
      {"max_prefill_seqs", 0, max_prefill_seqs}, {"max_model_len", 2, max_model_len},
      {"max_preemptions", 0, max_preemptions},   {"max_wait_steps", 0, max_wait_steps},
      {"min_copy_tokens", 1, min_copy_tokens},   {"expanded_prompt_tokens", 1, expanded_prompt_tokens}};
  for (const Limit& limit : limits) {
    if (limit.value < limit.least)
      return invalid_argument("{} must be at least {}, is {}", limit.field, limit.least, limit.value);
  }
  if (max_num_batched_tokens < max_num_seqs)
    return invalid_argument("max_num_batched_tokens must be at least max_num_seqs {}, is {}", max_num_seqs,
                            max_num_batched_tokens);
  return ok_status();
}

Scheduler::Scheduler(const SchedulerConfig& config, std::span<PagePool* const> pools, KeyedHash hash)
    : config_(config),
      keys_(std::move(hash), pools.front()->block_size()),
      step_tokens_(config.max_num_batched_tokens) {
  const Status status = config.validate();
  FATHOM_CHECK(status.ok(), "{}", status.message());
  for (PagePool* pool : pools) {
    homes_.emplace_back(new Home{*pool, PrefixIndex(*pool, config.min_copy_tokens)});
    FATHOM_CHECK(pool->num_pages() == any_pool().num_pages() && pool->block_size() == any_pool().block_size(),
                 "{} pages of {} tokens beside {} of {}", pool->num_pages(), pool->block_size(),
                 any_pool().num_pages(), any_pool().block_size());
  }
}

Scheduler::Scheduler(const SchedulerConfig& config, PagePool& pool, KeyedHash hash)
    : Scheduler(config, std::array{&pool}, std::move(hash)) {}

Scheduler::~Scheduler() { release_copies(); }

Result<std::vector<SequenceId>> Scheduler::submit(SubmitOptions options) {
  const auto prompt_len = static_cast<int64_t>(options.prompt.size());
  if (prompt_len == 0) return invalid_argument("the prompt is empty");
  if (options.max_tokens < 1)
    return invalid_argument("max_tokens must be at least 1, is {}", options.max_tokens);
  if (options.num_sequences < 1)
    return invalid_argument("num_sequences must be at least 1, is {}", options.num_sequences);
  if (prompt_len >= config_.max_model_len)
    return invalid_argument("the prompt must have fewer tokens than max_model_len {}, has {}",
                            config_.max_model_len, prompt_len);
  const PagePool& pool = any_pool();
  if (prompt_len > pool.capacity())
    return invalid_argument("the prompt needs {} cache pages, the cache has {} of {} tokens",
                            pool.num_pages_for(prompt_len), pool.num_pages(), pool.block_size());
  const int64_t num_waiting = statistics().num_waiting;
  if (options.num_sequences > config_.max_num_waiting - num_waiting)
    return resource_exhausted("{} sequences wait and {} more come, max_num_waiting is {}", num_waiting,
                              options.num_sequences, config_.max_num_waiting);

  // The last token's latent is never needed, so a pool holds sequences of one token more than its capacity.
  const int64_t room = std::min(config_.max_model_len, pool.capacity() + 1) - prompt_len;
  const PrefixKey root = keys_.root(options.salt);
  std::vector<SequenceId> ids;
  for (int64_t i = 0; i < options.num_sequences; ++i) {
    auto sequence = std::make_unique<Sequence>(homes_.front()->pool);
    sequence->id = next_id_++;
    sequence->priority = options.priority;
    if (i == 0) sequence->max_cached = options.max_cached_tokens;
    sequence->tokens = options.prompt;
    sequence->prompt_len = prompt_len;
    sequence->num_expanded = prompt_len >= config_.expanded_prompt_tokens ? prompt_len : 0;
    sequence->max_len = prompt_len + std::min(options.max_tokens, room);
    sequence->keys.push_back(root);
    sequence->patience = config_.max_wait_steps;
    if (ids.empty()) {
      line_.push(*sequence);
    } else {
      sequence->leader = ids.front();
      followers_.push_back(sequence.get());
    }
    ids.push_back(sequence->id);
    sequences_.emplace(sequence->id, std::move(sequence));
  }
  return ids;
}

void Scheduler::set_drafts(SequenceId id, std::span<const int32_t> drafts) {
  FATHOM_CHECK(plan_state_ == PlanState::kCommitted, "drafts for {} while a step runs", id);
  Sequence* sequence = find_mutable(id);
  if (sequence == nullptr || sequence->state != SequenceState::kRunning) return;
  sequence->drafts.assign(drafts.begin(), drafts.end());
}

void Scheduler::set_step_tokens(int64_t num_tokens) { step_tokens_ = num_tokens; }

const BatchPlan& Scheduler::plan() {
  FATHOM_CHECK(plan_state_ == PlanState::kCommitted, "the last plan of {} segments is not committed",
               plan_.segments.size());
  plan_state_ = PlanState::kPending;
  line_.begin_step(++step_);
  forget_finished();
  extend_running();
  admit();
  share_budget();
  emit_segments();
  return plan_;
}

const Sequence* Scheduler::find(SequenceId id) const {
  const auto found = sequences_.find(id);
  return found == sequences_.end() ? nullptr : found->second.get();
}

Sequence* Scheduler::find_mutable(SequenceId id) { return const_cast<Sequence*>(find(id)); }

SchedulerStatistics Scheduler::statistics() const {
  SchedulerStatistics statistics = counts_;
  statistics.num_waiting = line_.size() + static_cast<int64_t>(followers_.size());
  statistics.num_running = static_cast<int64_t>(running_.size());
  for (const auto& home : homes_) {
    statistics.num_evictions += home->pool.num_evictions();
    statistics.num_pages_used += home->pool.num_used();
    statistics.num_pages += home->pool.num_pages();
  }
  return statistics;
}

void Scheduler::forget_finished() {
  for (SequenceId id : finished_) sequences_.erase(id);
  finished_.clear();
}

bool Scheduler::is_settled(const Sequence& sequence) const {
  return sequence.num_preemptions >= config_.max_preemptions;
}

int64_t Scheduler::tokens_to_boundary(const Sequence& sequence) const {
  const int64_t boundary =
      sequence.num_computed < sequence.prompt_len ? sequence.prompt_len : sequence.num_tokens();
  return boundary - sequence.num_computed;
}

}  // namespace fathom
