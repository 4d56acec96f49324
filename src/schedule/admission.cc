// Pages: who gets them, who loses them, who starts running.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "schedule/scheduler.h"

namespace fathom {

// Gives the running sequences pages for the tokens they got at the last commit, in order of admission. A
// sequence that needs one is not settled, so there is a victim, if only itself.
void Scheduler::extend_running() {
  size_t i = 0;
  while (i < running_.size()) {
    if (running_[i]->pages.grow(running_[i]->num_tokens())) {
      ++i;
      continue;
    }
    const size_t loser = victim();
    preempt(loser);
    if (loser < i) --i;
  }
}

// The place in running_ of the sequence that gives way.
size_t Scheduler::victim() const {
  const Sequence* last = nullptr;
  size_t place = running_.size();
  for (size_t i = 0; i < running_.size(); ++i) {
    const Sequence* candidate = running_[i];
    if (is_settled(*candidate)) continue;
    if (last != nullptr &&
        std::pair(candidate->priority, candidate->id) < std::pair(last->priority, last->id))
      continue;
    last = candidate;
    place = i;
  }
  FATHOM_CHECK(last != nullptr, "{} running and all settled, {} of {} pages used", running_.size(),
               pool_->num_used(), pool_->num_pages());
  return place;
}

void Scheduler::preempt(size_t running_index) {
  Sequence& sequence = *running_[running_index];
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(running_index));
  leave(sequence);
  sequence.state = SequenceState::kWaiting;
  ++sequence.num_preemptions;
  ++counts_.num_preemptions;
  line_.push(sequence);
}

void Scheduler::admit() {
  Demand demand;
  for (const Sequence* sequence : running_) add_demand(*sequence, demand);
  while (line_.front() != nullptr && has_tokens_left(demand)) {
    Sequence& next = *line_.front();
    if (!take_pages(next, demand)) break;
    line_.remove(next);
    next.state = SequenceState::kRunning;
    running_.push_back(&next);
    add_demand(next, demand);
    if (next.num_admissions++ > 0) continue;
    next.num_cached = next.num_computed;
    counts_.num_prompt_tokens += next.prompt_len;
    counts_.num_cached_tokens += next.num_cached;
  }
}

void Scheduler::add_demand(const Sequence& sequence, Demand& demand) const {
  if (is_decode(sequence)) {
    ++demand.num_decodes;
  } else {
    ++demand.num_prefills;
    demand.prefill_tokens += std::min(tokens_to_boundary(sequence), config_.min_chunk_tokens);
  }
  const auto num_pages = static_cast<int64_t>(sequence.pages.pages().size());
  demand.num_growing += will_grow(sequence, num_pages) ? 1 : 0;
}

// Of a step that gives every running sequence the least it is promised.
bool Scheduler::has_tokens_left(const Demand& demand) const {
  if (demand.num_decodes + demand.num_prefills >= config_.max_num_seqs) return false;
  if (config_.max_prefill_seqs > 0 && demand.num_prefills >= config_.max_prefill_seqs) return false;
  return demand.prefill_tokens < prompt_budget(demand.num_decodes);
}

int64_t Scheduler::num_pages_at_admission(const Sequence& sequence) const {
  // The last token's latent is never needed.
  return pool_->num_pages_for(is_settled(sequence) ? sequence.max_len - 1 : sequence.num_tokens());
}

bool Scheduler::will_grow(const Sequence& sequence, int64_t num_pages) const {
  return pool_->num_pages_for(sequence.max_len - 1) > num_pages;
}

// Pages without a holder that are found in the cache stop being free as well.
bool Scheduler::fits(const PrefixMatch& match, int64_t num_pages, int64_t num_growing) const {
  const bool source_is_free = match.source && pool_->num_holders(*match.source) == 0;
  const int64_t num_new = num_pages - static_cast<int64_t>(match.pages.size());
  return num_new + match.num_pages_free_before + (source_is_free ? 1 : 0) + num_growing <= pool_->num_free();
}

// What the cache holds of the sequence, and free pages for the rest; false, and nothing has changed, where
// they do not suffice.
bool Scheduler::take_pages(Sequence& sequence, const Demand& demand) {
  index_.extend(sequence.keys, sequence.run());
  const bool needs_logits = sequence.num_tokens() == sequence.prompt_len;
  const int64_t most =
      std::min(sequence.num_tokens() - 1, needs_logits ? sequence.max_cached : sequence.num_tokens());
  PrefixMatch match = index_.match(sequence.keys, sequence.run(), most);
  const int64_t num_pages = num_pages_at_admission(sequence);
  const int64_t num_growing =
      running_.empty() ? 0 : demand.num_growing + (will_grow(sequence, num_pages) ? 1 : 0);
  if (!fits(match, num_pages, num_growing)) {
    if (!match.source) return false;
    // The source itself may be the page that is missing.
    match.num_tokens -= std::exchange(match.num_copied, 0);
    match.source.reset();
    if (!fits(match, num_pages, num_growing)) return false;
  }
  for (PageId page : match.pages) sequence.pages.share(page);
  if (match.source) pool_->retain(*match.source);
  const bool grown = sequence.pages.grow(num_pages * pool_->block_size());
  FATHOM_CHECK(grown, "{} pages, {} free", num_pages, pool_->num_free());
  sequence.num_computed = match.num_tokens;
  sequence.num_indexed = static_cast<int64_t>(match.pages.size());
  if (match.source) {
    const PageId to = sequence.pages.pages()[match.pages.size()];
    plan_.copies.push_back({.from = *match.source, .to = to, .num_tokens = match.num_copied});
  }
  return true;
}

}  // namespace fathom
