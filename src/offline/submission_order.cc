#include "offline/submission_order.h"

#include <algorithm>
#include <numeric>

namespace fathom {
namespace {

using Tokens = std::span<const int32_t>;

// All of (first, the rank that is looked at] begin with the same num_shared tokens as first.
struct Run {
  size_t num_shared;
  size_t first;
};

size_t shared_tokens(Tokens a, Tokens b, const SharingRules& rules) {
  const size_t switch_at = rules.expanded_prompt_tokens;
  if ((a.size() >= switch_at) != (b.size() >= switch_at)) return 0;
  const size_t length = std::min(a.size(), b.size());
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(length), b.begin()).first - a.begin());
}

// The runs that end at the next rank, whose prompt shares num_shared tokens with the one before it.
void extend_runs(std::vector<Run>& runs, size_t rank, size_t num_shared, size_t min_tokens) {
  size_t first = rank - 1;
  while (!runs.empty() && runs.back().num_shared >= num_shared) {
    first = runs.back().first;
    runs.pop_back();
  }
  if (num_shared < min_tokens) {
    runs.clear();
  } else {
    runs.push_back({num_shared, first});
  }
}

}  // namespace

SubmissionOrder::SubmissionOrder(std::span<const Tokens> prompts, const SharingRules& rules)
    : prompt_at_(prompts.size()),
      rank_of_(prompts.size()),
      leader_of_(prompts.size()),
      waiting_on_(prompts.size()) {
  std::iota(prompt_at_.begin(), prompt_at_.end(), size_t{0});
  std::sort(prompt_at_.begin(), prompt_at_.end(), [&](size_t a, size_t b) {
    const bool long_a = prompts[a].size() >= rules.expanded_prompt_tokens;
    const bool long_b = prompts[b].size() >= rules.expanded_prompt_tokens;
    if (long_a != long_b) return long_b;
    const auto order = std::lexicographical_compare_three_way(prompts[a].begin(), prompts[a].end(),
                                                              prompts[b].begin(), prompts[b].end());
    return order != 0 ? order < 0 : a < b;
  });
  std::vector<Run> runs;
  for (size_t rank = 0; rank < prompts.size(); ++rank) {
    rank_of_[prompt_at_[rank]] = rank;
    leader_of_[rank] = rank;
    if (rank == 0) {
      ready_.push(rank);
      continue;
    }
    const size_t num_shared = shared_tokens(prompts[prompt_at_[rank - 1]], prompts[prompt_at_[rank]], rules);
    extend_runs(runs, rank, num_shared, rules.min_tokens);
    if (runs.empty()) {
      ready_.push(rank);
      continue;
    }
    // The earliest that shares nearly as much: whoever waits for it may go together with this one.
    const auto run = std::find_if(runs.begin(), runs.end(), [&](const Run& candidate) {
      return candidate.num_shared + rules.min_tokens > num_shared;
    });
    leader_of_[rank] = run->first;
    waiting_on_[run->first].push_back(rank);
  }
}

std::optional<size_t> SubmissionOrder::next() {
  if (ready_.empty()) return std::nullopt;
  const size_t rank = ready_.top();
  ready_.pop();
  return prompt_at_[rank];
}

void SubmissionOrder::computed(size_t prompt) {
  std::vector<size_t>& waiting = waiting_on_[rank_of_[prompt]];
  for (size_t rank : waiting) ready_.push(rank);
  waiting.clear();
}

std::optional<size_t> SubmissionOrder::leader(size_t prompt) const {
  const size_t rank = rank_of_[prompt];
  if (leader_of_[rank] == rank) return std::nullopt;
  return prompt_at_[leader_of_[rank]];
}

}  // namespace fathom
