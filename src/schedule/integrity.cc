// Recounts: every invariant of the scheduler.
#include <algorithm>
#include <map>

#include "schedule/scheduler.h"

namespace fathom {

Status Scheduler::check_integrity() const {
  FATHOM_RETURN_IF_ERROR(line_.check_integrity());
  FATHOM_RETURN_IF_ERROR(check_states());
  for (const auto& [id, sequence] : sequences_) FATHOM_RETURN_IF_ERROR(check_sequence(*sequence));
  for (size_t home = 0; home < homes_.size(); ++home) {
    FATHOM_RETURN_IF_ERROR(check_pages(static_cast<int64_t>(home)));
    FATHOM_RETURN_IF_ERROR(homes_[home]->index.check_integrity());
  }
  return ok_status();
}

// Every sequence is where its state says, and nothing else is there.
Status Scheduler::check_states() const {
  size_t num_followers = 0, num_running = 0, num_finished = 0, num_in_line = 0;
  for (const auto& [id, sequence] : sequences_) {
    const auto is_in = [&s = sequence](const std::vector<Sequence*>& list) {
      return std::count(list.begin(), list.end(), s.get()) == 1;
    };
    const SequenceState state = sequence->state;
    const bool follows = state == SequenceState::kWaiting && sequence->leader != 0;
    const bool waits = state == SequenceState::kWaiting && !follows;
    const bool runs = state == SequenceState::kRunning;
    const bool finished = state == SequenceState::kFinished;
    if (follows != is_in(followers_) || waits != line_.contains(*sequence) || runs != is_in(running_) ||
        finished != (std::count(finished_.begin(), finished_.end(), id) == 1))
      return invalid_data("sequence {} is not where its state says", id);
    if (finished != (sequence->finish_reason != FinishReason::kNone))
      return invalid_data("sequence {}: state and finish reason disagree", id);
    if (follows) {
      const Sequence* leader = find(sequence->leader);
      if (leader == nullptr || leader->state == SequenceState::kFinished || leader->leader != 0 ||
          leader->num_tokens() > leader->prompt_len)
        return invalid_data("sequence {} waits in vain for {}", id, sequence->leader);
    }
    num_followers += follows ? 1 : 0;
    num_in_line += waits ? 1 : 0;
    num_running += runs ? 1 : 0;
    num_finished += finished ? 1 : 0;
  }
  if (num_followers != followers_.size() || num_running != running_.size() ||
      num_finished != finished_.size() || static_cast<int64_t>(num_in_line) != line_.size())
    return invalid_data("a list holds a sequence that is not known");
  return ok_status();
}

Status Scheduler::check_sequence(const Sequence& sequence) const {
  const std::span<const PageId> pages = sequence.pages.pages();
  if (sequence.prompt_len < 1 || sequence.num_tokens() < sequence.prompt_len ||
      sequence.num_tokens() > sequence.max_len || sequence.max_len > config_.max_model_len)
    return invalid_data("sequence {}: prompt_len {}, {} tokens, max_len {}", sequence.id, sequence.prompt_len,
                        sequence.num_tokens(), sequence.max_len);
  if (sequence.num_preemptions > config_.max_preemptions)
    return invalid_data("sequence {} was preempted {} times", sequence.id, sequence.num_preemptions);
  if (sequence.state != SequenceState::kRunning) {
    if (sequence.num_computed != 0 || sequence.num_indexed != 0 || !pages.empty())
      return invalid_data("sequence {} does not run and has {} computed tokens, {} pages", sequence.id,
                          sequence.num_computed, pages.size());
    return ok_status();
  }
  const int64_t with_drafts =
      sequence.num_tokens() +
      (plan_state_ == PlanState::kPending ? static_cast<int64_t>(sequence.drafts.size()) : -1);
  if (sequence.num_computed < 0 || sequence.num_computed >= sequence.num_tokens() ||
      with_drafts > sequence.pages.capacity())
    return invalid_data("sequence {}: {} computed of {} tokens, with drafts {}, room for {}", sequence.id,
                        sequence.num_computed, sequence.num_tokens(), with_drafts, sequence.pages.capacity());
  if (is_settled(sequence) && sequence.pages.capacity() < sequence.max_len - 1)
    return invalid_data("sequence {} is settled with room for {} of {} tokens", sequence.id,
                        sequence.pages.capacity(), sequence.max_len - 1);
  if (sequence.num_indexed != sequence.num_computed / any_pool().block_size())
    return invalid_data("sequence {}: {} pages indexed of {} tokens", sequence.id, sequence.num_indexed,
                        sequence.num_computed);
  for (size_t i = 0; i < pages.size(); ++i)
    FATHOM_RETURN_IF_ERROR(
        home_of(sequence).index.check_page(pages[i], static_cast<int64_t>(i), sequence.keys, sequence.run()));
  return ok_status();
}

// Each page has the holders it counts, and what is still to be written has one.
Status Scheduler::check_pages(int64_t home) const {
  const PagePool& pool = homes_[static_cast<size_t>(home)]->pool;
  std::vector<PageId> held;
  std::map<PageId, int> num_sequences;
  for (const Sequence* sequence : running_) {
    if (sequence->home != home) continue;
    for (PageId page : sequence->pages.pages()) {
      held.push_back(page);
      ++num_sequences[page];
    }
  }
  for (const Sequence* sequence : running_) {
    if (sequence->home != home) continue;
    const std::span<const PageId> pages = sequence->pages.pages();
    for (auto i = static_cast<size_t>(sequence->num_indexed); i < pages.size(); ++i) {
      if (num_sequences[pages[i]] != 1)
        return invalid_data("page {}, which sequence {} writes, belongs to {}", pages[i], sequence->id,
                            num_sequences[pages[i]]);
    }
  }
  if (plan_state_ == PlanState::kCommitted && !plan_.copies.empty())
    return invalid_data("{} copies outlive their step", plan_.copies.size());
  for (const PageCopy& copy : plan_.copies) {
    if (copy.home != home) continue;
    held.push_back(copy.from);
    if (copy.from == copy.to || copy.num_tokens < config_.min_copy_tokens ||
        copy.num_tokens > pool.block_size())
      return invalid_data("copy of {} tokens from page {} to {}", copy.num_tokens, copy.from, copy.to);
  }
  return pool.check_integrity(held);
}

}  // namespace fathom
