// Pages: who gets them, who loses them, who starts running.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "schedule/scheduler.h"

namespace fathom {
namespace {

// Keys that a home's sequences have, which cost as much as one token to compute: with the Lite model reading
// a key takes a 5,000th of a token's operations, and it is read for each token of an answer, of 600 say.
constexpr int64_t kKeysPerToken = 8;

}  // namespace

// Gives the running sequences pages for the tokens they got at the last commit, in order of admission. A
// sequence that needs one is not settled, so there is a victim, if only itself.
void Scheduler::extend_running() {
  size_t i = 0;
  while (i < running_.size()) {
    if (running_[i]->pages.grow(running_[i]->num_tokens())) {
      ++i;
      continue;
    }
    const size_t loser = victim(running_[i]->home);
    preempt(loser);
    if (loser < i) --i;
  }
}

// The place in running_ of the sequence of this home that gives way.
size_t Scheduler::victim(int64_t home) const {
  const Sequence* last = nullptr;
  size_t place = running_.size();
  for (size_t i = 0; i < running_.size(); ++i) {
    const Sequence* candidate = running_[i];
    if (candidate->home != home || is_settled(*candidate)) continue;
    if (last != nullptr &&
        std::pair(candidate->priority, candidate->id) < std::pair(last->priority, last->id))
      continue;
    last = candidate;
    place = i;
  }
  FATHOM_CHECK(last != nullptr, "{} running and all of home {} settled", running_.size(), home);
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
  demand.homes.resize(homes_.size());
  for (const Sequence* sequence : running_) add_demand(*sequence, demand);
  while (line_.front() != nullptr && has_tokens_left(demand)) {
    Sequence& next = *line_.front();
    if (!settle_in(next, demand)) break;
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
  if (sequence.is_decode()) {
    ++demand.num_decodes;
  } else {
    ++demand.num_prefills;
    demand.prefill_tokens += std::min(tokens_to_boundary(sequence), config_.min_chunk_tokens);
  }
  const auto num_pages = static_cast<int64_t>(sequence.pages.pages().size());
  HomeDemand& home = demand.homes[static_cast<size_t>(sequence.home)];
  ++home.num_running;
  home.num_tokens += sequence.num_tokens();
  home.num_growing += will_grow(sequence, num_pages) ? 1 : 0;
}

// Of a step that gives every running sequence the least it is promised.
bool Scheduler::has_tokens_left(const Demand& demand) const {
  if (demand.num_decodes + demand.num_prefills >= config_.max_num_seqs) return false;
  if (config_.max_prefill_seqs > 0 && demand.num_prefills >= config_.max_prefill_seqs) return false;
  return demand.prefill_tokens < prompt_budget(demand.num_decodes);
}

int64_t Scheduler::num_pages_at_admission(const Sequence& sequence) const {
  // The last token's latent is never needed.
  return any_pool().num_pages_for(is_settled(sequence) ? sequence.max_len - 1 : sequence.num_tokens());
}

bool Scheduler::will_grow(const Sequence& sequence, int64_t num_pages) const {
  return any_pool().num_pages_for(sequence.max_len - 1) > num_pages;
}

// In keys: see kKeysPerToken.
int64_t Scheduler::home_cost(const Sequence& sequence, const Place& place, const HomeDemand& demand) const {
  const PagePool& pool = homes_[static_cast<size_t>(place.home)]->pool;
  const int64_t num_new = num_pages_at_admission(sequence) - static_cast<int64_t>(place.match.pages.size());
  const int64_t num_forgotten = std::max<int64_t>(0, num_new - pool.num_blank()) * pool.block_size();
  return kKeysPerToken * (sequence.num_tokens() - place.match.num_tokens) + demand.num_tokens + num_forgotten;
}

// A home, what its cache holds of the sequence, and free pages for the rest; false, and nothing has changed,
// where no home has them.
bool Scheduler::settle_in(Sequence& sequence, const Demand& demand) {
  keys_.extend(sequence.keys, sequence.run());
  const bool needs_logits = sequence.num_tokens() == sequence.prompt_len;
  const int64_t most =
      std::min(sequence.num_tokens() - 1, needs_logits ? sequence.max_cached : sequence.num_tokens());
  std::vector<Place> places;
  for (size_t home = 0; home < homes_.size(); ++home) {
    Place& place = places.emplace_back();
    place.home = static_cast<int64_t>(home);
    place.match = homes_[home]->index.match(sequence.keys, sequence.run(), most);
    place.cost = home_cost(sequence, place, demand.homes[home]);
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.cost < b.cost; });
  return std::any_of(places.begin(), places.end(), [&](Place& place) {
    return take_pages(sequence, place, demand.homes[static_cast<size_t>(place.home)]);
  });
}

// Pages without a holder that are found in the cache stop being free as well.
bool Scheduler::fits(const Place& place, int64_t num_pages, int64_t num_growing) const {
  const PagePool& pool = homes_[static_cast<size_t>(place.home)]->pool;
  const PrefixMatch& match = place.match;
  const bool source_is_free = match.source && pool.num_holders(*match.source) == 0;
  const int64_t num_new = num_pages - static_cast<int64_t>(match.pages.size());
  return num_new + match.num_pages_free_before + (source_is_free ? 1 : 0) + num_growing <= pool.num_free();
}

// All or nothing.
bool Scheduler::take_pages(Sequence& sequence, Place& place, const HomeDemand& demand) {
  PrefixMatch& match = place.match;
  const int64_t num_pages = num_pages_at_admission(sequence);
  const int64_t num_growing =
      demand.num_running == 0 ? 0 : demand.num_growing + (will_grow(sequence, num_pages) ? 1 : 0);
  if (!fits(place, num_pages, num_growing)) {
    if (!match.source) return false;
    // The source itself may be the page that is missing.
    match.num_tokens -= std::exchange(match.num_copied, 0);
    match.source.reset();
    if (!fits(place, num_pages, num_growing)) return false;
  }
  sequence.home = place.home;
  PagePool& pool = home_of(sequence).pool;
  sequence.pages.move_to(pool);
  for (PageId page : match.pages) sequence.pages.share(page);
  if (match.source) pool.retain(*match.source);
  const bool grown = sequence.pages.grow(num_pages * pool.block_size());
  FATHOM_CHECK(grown, "{} pages, {} free", num_pages, pool.num_free());
  sequence.num_computed = match.num_tokens;
  sequence.num_indexed = static_cast<int64_t>(match.pages.size());
  if (match.source) {
    const PageId to = sequence.pages.pages()[match.pages.size()];
    plan_.copies.push_back(
        {.from = *match.source, .to = to, .num_tokens = match.num_copied, .home = place.home});
  }
  return true;
}

}  // namespace fathom
