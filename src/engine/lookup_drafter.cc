#include "engine/lookup_drafter.h"

namespace fathom {
namespace {

// Tokens whose time a sequence may have saved up.
constexpr double kMostSaved = 4;

}  // namespace

Status LookupDrafter::propose(Scheduler& scheduler) {
  const std::span<const Sequence* const> running = scheduler.running();
  const int64_t num_decodes = std::count_if(running.begin(), running.end(),
                                            [](const Sequence* sequence) { return sequence->is_decode(); });
  if (num_decodes == 0) return ok_status();
  const DraftPrices prices = prices_of(costs_, num_decodes, num_other_tokens_);
  int64_t num_left = max_drafts_;
  for (const Sequence* sequence : running) {
    if (!sequence->is_decode()) continue;
    Drafted& drafted = sequences_[sequence->id];
    drafted.lookup.extend(sequence->tokens);
    const PromptLookup::Match match = drafted.lookup.find();
    if (match.length == 0) continue;
    const int64_t count = drafted.policy.choose(num_left, match.length, prices, drafted.account.balance());
    if (count == 0) continue;
    drafted.lookup.draft(match, count, drafts_);
    scheduler.set_drafts(sequence->id, drafts_);
    num_left -= count;
  }
  return ok_status();
}

Status LookupDrafter::observe(const Scheduler& scheduler, const BatchPlan& plan,
                              std::span<const int32_t> counts, double seconds) {
  outcomes_.clear();
  num_other_tokens_ = read_outcomes(scheduler, plan, counts, outcomes_);
  if (num_other_tokens_ == 0 && seconds > 0) costs_.observe(plan.num_tokens, seconds);
  if (outcomes_.empty()) return ok_status();
  const DraftPrices prices = settled_prices(costs_, plan.num_tokens, outcomes_);
  for (const Outcome& outcome : outcomes_) {
    count(outcome);
    const auto found = sequences_.find(outcome.sequence->id);
    if (found == sequences_.end()) continue;
    Drafted& drafted = found->second;
    drafted.policy.record(outcome.num_drafts, outcome.num_accepted);
    drafted.account.spend(prices.per_draft * static_cast<double>(outcome.num_drafts));
    drafted.account.earn(prices.token_value, prices.token_value * static_cast<double>(outcome.num_accepted),
                         kMostSaved * prices.token_value);
  }
  return ok_status();
}

}  // namespace fathom
