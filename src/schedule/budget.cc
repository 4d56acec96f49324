// The tokens of a step: how they are shared out.
#include <algorithm>

#include "base/check.h"
#include "schedule/scheduler.h"

namespace fathom {

// What a step has for sequences with more than one token to go. Never 0 beside fewer than max_num_seqs
// decodes, so that prompts advance whatever the engine asks for.
int64_t Scheduler::prompt_budget(int64_t num_decodes) const {
  const int64_t hard = config_.max_num_batched_tokens - num_decodes;
  const int64_t asked = std::max<int64_t>(step_tokens_ - num_decodes, 1);
  const int64_t prompts = config_.max_prefill_tokens > 0 ? config_.max_prefill_tokens : hard;
  return std::min({hard, asked, prompts});
}

void Scheduler::share_budget() {
  grants_.clear();
  int64_t num_decodes = 0;
  for (Sequence* sequence : running_) {
    const bool decode = sequence->is_decode();
    num_decodes += decode ? 1 : 0;
    grants_.push_back({.sequence = sequence,
                       .is_decode = decode,
                       .num_left = decode ? 0 : tokens_to_boundary(*sequence),
                       .num_tokens = decode ? 1 : 0});
  }
  int64_t budget = config_.max_num_batched_tokens - num_decodes;
  int64_t for_prompts = prompt_budget(num_decodes);
  const auto give = [&](Grant& grant, int64_t limit) {
    const int64_t more = std::min({grant.num_left, limit, for_prompts, budget});
    grant.num_left -= more;
    grant.num_tokens += more;
    for_prompts -= more;
    budget -= more;
  };
  for (Grant& grant : grants_) give(grant, config_.min_chunk_tokens);
  budget -= grant_drafts(budget);

  std::vector<Grant*> unsatisfied;
  for (Grant& grant : grants_) {
    if (grant.num_left > 0) unsatisfied.push_back(&grant);
  }
  std::stable_sort(unsatisfied.begin(), unsatisfied.end(), [](const Grant* a, const Grant* b) {
    return a->sequence->priority < b->sequence->priority;
  });
  for (Grant* grant : unsatisfied) give(*grant, grant->num_left);
}

int64_t Scheduler::reserve_drafts(SequenceId id, int64_t num_drafts) {
  FATHOM_CHECK(plan_state_ == PlanState::kCommitted, "drafts for {} while a step runs", id);
  Sequence* sequence = find_mutable(id);
  if (sequence == nullptr || sequence->state != SequenceState::kRunning || !sequence->is_decode()) return 0;
  const int64_t known = sequence->num_tokens();
  const PagePool& pool = home_of(*sequence).pool;
  const int64_t num_beside = std::count_if(
      running_.begin(), running_.end(), [&](const Sequence* other) { return other->home == sequence->home; });
  const int64_t num_spare = std::max<int64_t>(0, pool.num_free() - num_beside);
  const int64_t room = sequence->pages.capacity() + num_spare * pool.block_size();
  const int64_t count = std::min({num_drafts, sequence->max_len - known - 1, room - known});
  if (count <= 0) return 0;
  const bool grown = sequence->pages.grow(known + count);
  FATHOM_CHECK(grown, "{} tokens, {} pages free", known + count, pool.num_free());
  return count;
}

// Trims all drafts to what is computed of them; returns how many tokens that is.
int64_t Scheduler::grant_drafts(int64_t budget) {
  const int64_t before = budget;
  for (Grant& grant : grants_) {
    Sequence& sequence = *grant.sequence;
    if (sequence.drafts.empty()) continue;
    const int64_t known = sequence.num_tokens();
    const PagePool& pool = home_of(sequence).pool;
    const int64_t room = sequence.pages.capacity() + int64_t{pool.num_free()} * pool.block_size();
    // Each draft that holds gives one token more; the last token's latent is never needed.
    const int64_t count = grant.is_decode ? std::min({static_cast<int64_t>(sequence.drafts.size()),
                                                      sequence.max_len - known - 1, room - known, budget})
                                          : 0;
    sequence.drafts.resize(static_cast<size_t>(count));
    const bool grown = sequence.pages.grow(known + count);
    FATHOM_CHECK(grown, "{} tokens, {} pages free", known + count, pool.num_free());
    grant.num_tokens += count;
    budget -= count;
  }
  return before - budget;
}

void Scheduler::emit_segments() {
  plan_.segments.clear();
  plan_.num_tokens = 0;
  plan_.num_logits = 0;
  for (const bool decodes : {true, false}) {
    for (const Grant& grant : grants_) {
      if (grant.is_decode != decodes || grant.num_tokens == 0) continue;
      const Sequence& sequence = *grant.sequence;
      const int64_t end = sequence.num_computed + grant.num_tokens;
      const int64_t num_logits = decodes ? grant.num_tokens : (end == sequence.num_tokens() ? 1 : 0);
      plan_.segments.push_back({sequence.id, sequence.num_computed, end, num_logits});
      plan_.num_tokens += grant.num_tokens;
      plan_.num_logits += num_logits;
    }
  }
}

}  // namespace fathom
