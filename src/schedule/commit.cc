// What a step has computed, and how sequences leave.
#include <algorithm>

#include "base/check.h"
#include "schedule/scheduler.h"

namespace fathom {

void Scheduler::commit(std::span<const int32_t> tokens, std::span<const int32_t> counts) {
  FATHOM_CHECK(plan_state_ == PlanState::kPending, "no plan to commit");
  check_answer(tokens, counts);
  plan_state_ = PlanState::kCommitted;
  size_t next_count = 0;
  for (const Segment& segment : plan_.segments) {
    const auto count = segment.num_logits > 0 ? static_cast<size_t>(counts[next_count++]) : 0;
    accept(segment, tokens.first(count));
    tokens = tokens.subspan(count);
  }
  release_copies();
}

void Scheduler::check_answer(std::span<const int32_t> tokens, std::span<const int32_t> counts) const {
  size_t num_segments = 0;
  int64_t num_tokens = 0;
  for (const Segment& segment : plan_.segments) {
    if (segment.num_logits == 0) continue;
    FATHOM_CHECK(num_segments < counts.size(), "{} counts", counts.size());
    const int32_t count = counts[num_segments++];
    FATHOM_CHECK(count >= 1 && count <= segment.num_logits, "{} tokens for {} rows", count,
                 segment.num_logits);
    num_tokens += count;
  }
  FATHOM_CHECK(num_segments == counts.size(), "{} counts for {} segments with logits", counts.size(),
               num_segments);
  FATHOM_CHECK(num_tokens == static_cast<int64_t>(tokens.size()), "{} tokens, {} counted", tokens.size(),
               num_tokens);
}

// The rows behind the last accepted token are of drafts that failed: not computed.
void Scheduler::accept(const Segment& segment, std::span<const int32_t> tokens) {
  Sequence& sequence = *find_mutable(segment.sequence_id);
  if (sequence.state == SequenceState::kFinished) return;
  const auto count = static_cast<int64_t>(tokens.size());
  const bool was_prompt = segment.begin < sequence.prompt_len;
  const bool was_decode = sequence.is_decode();
  if (!tokens.empty()) {
    const bool agree = std::equal(tokens.begin(), tokens.end() - 1, sequence.drafts.begin());
    FATHOM_CHECK(agree, "sequence {}: a token that was not drafted stands before the last of {}", sequence.id,
                 count);
  }
  sequence.num_computed = segment.end - segment.num_logits + count;
  sequence.tokens.insert(sequence.tokens.end(), tokens.begin(), tokens.end());
  sequence.drafts.clear();
  if (!is_settled(sequence)) sequence.pages.shrink(sequence.num_tokens());
  index_computed(sequence);
  // Page by page is enough for generated tokens.
  if (!was_decode) index_last_page(sequence);
  if (was_prompt && sequence.num_computed == sequence.prompt_len) let_followers_go(sequence.id);
  if (sequence.num_tokens() >= sequence.max_len) finish(sequence.id, FinishReason::kLength);
}

void Scheduler::index_computed(Sequence& sequence) {
  const int64_t num_full = sequence.num_computed / any_pool().block_size();
  if (num_full == sequence.num_indexed) return;
  keys_.extend(sequence.keys, sequence.run());
  for (int64_t& i = sequence.num_indexed; i < num_full; ++i) {
    const PageId page = sequence.pages.pages()[static_cast<size_t>(i)];
    home_of(sequence).index.insert(page, i, sequence.keys, sequence.run(), sequence.num_computed);
  }
}

void Scheduler::index_last_page(const Sequence& sequence) {
  const int64_t block_size = any_pool().block_size();
  const int64_t number = sequence.num_computed / block_size;
  if (number * block_size == sequence.num_computed) return;
  const PageId page = sequence.pages.pages()[static_cast<size_t>(number)];
  home_of(sequence).index.insert(page, number, sequence.keys, sequence.run(), sequence.num_computed);
}

void Scheduler::release_copies() {
  for (const PageCopy& copy : plan_.copies) homes_[static_cast<size_t>(copy.home)]->pool.release(copy.from);
  plan_.copies.clear();
}

bool Scheduler::finish(SequenceId id, FinishReason reason) {
  FATHOM_CHECK(reason != FinishReason::kNone, "sequence {}", id);
  Sequence* sequence = find_mutable(id);
  if (sequence == nullptr) return false;
  sequence->finish_reason = reason;
  if (sequence->state == SequenceState::kFinished) return true;
  if (sequence->state == SequenceState::kRunning) {
    running_.erase(std::find(running_.begin(), running_.end(), sequence));
    leave(*sequence);
  } else if (sequence->leader != 0) {
    followers_.erase(std::find(followers_.begin(), followers_.end(), sequence));
  } else {
    line_.remove(*sequence);
  }
  sequence->state = SequenceState::kFinished;
  finished_.push_back(id);
  replace_leader(id);
  return true;
}

// Gives the pages back; what is computed stays to be found.
void Scheduler::leave(Sequence& sequence) {
  index_computed(sequence);
  index_last_page(sequence);
  sequence.pages.release();
  sequence.drafts.clear();
  sequence.num_computed = 0;
  sequence.num_indexed = 0;
}

void Scheduler::let_followers_go(SequenceId leader) {
  std::erase_if(followers_, [&](Sequence* follower) {
    if (follower->leader != leader) return false;
    follower->leader = 0;
    line_.push(*follower);
    return true;
  });
}

// The first follower computes the prompt in place of a leader that has ended before it did.
void Scheduler::replace_leader(SequenceId leader) {
  const auto first = std::find_if(followers_.begin(), followers_.end(),
                                  [&](const Sequence* follower) { return follower->leader == leader; });
  if (first == followers_.end()) return;
  Sequence& heir = **first;
  heir.leader = 0;
  heir.max_cached = find(leader)->max_cached;
  for (Sequence* follower : followers_) {
    if (follower->leader == leader) follower->leader = heir.id;
  }
  followers_.erase(first);
  line_.push(heir);
}

}  // namespace fathom
