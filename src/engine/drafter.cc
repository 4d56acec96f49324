#include "engine/drafter.h"

#include <algorithm>

namespace fathom {
namespace {

// A step's growth is looked at over so many drafts: a smaller difference drowns in noise.
constexpr int64_t kGrowthTokens = 8;
// No draft is taken for free, whatever was measured: share of a step.
constexpr double kLeastPrice = 0.01;

DraftPrices prices_of(const StepCosts& costs, int64_t num_decodes, int64_t num_other_tokens) {
  const int64_t num_tokens = num_decodes + num_other_tokens;
  const double step = costs.predict(num_tokens);
  const double growth = (costs.predict(num_tokens + kGrowthTokens) - step) / kGrowthTokens;
  return {.token_value = step / static_cast<double>(num_decodes),
          .per_draft = std::max(growth, kLeastPrice * step)};
}

}  // namespace

void Drafter::propose(Scheduler& scheduler, const StepCosts& costs, int64_t num_other_tokens) {
  const std::span<const Sequence* const> running = scheduler.running();
  const int64_t num_decodes = std::count_if(running.begin(), running.end(),
                                            [](const Sequence* sequence) { return sequence->is_decode(); });
  if (num_decodes == 0) return;
  prices_ = prices_of(costs, num_decodes, num_other_tokens);
  int64_t num_left = max_drafts_;
  for (const Sequence* sequence : running) {
    if (!sequence->is_decode()) continue;
    Drafted& drafted = sequences_[sequence->id];
    drafted.lookup.extend(sequence->tokens);
    const PromptLookup::Match match = drafted.lookup.find();
    if (match.length == 0) continue;
    const int64_t count = drafted.policy.choose(num_left, match.length, prices_);
    if (count == 0) continue;
    drafted.lookup.draft(match, count, drafts_);
    scheduler.set_drafts(sequence->id, drafts_);
    num_left -= count;
  }
}

void Drafter::record(SequenceId id, int64_t num_drafts, int64_t num_accepted) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  found->second.policy.record(num_drafts, num_accepted, prices_);
  if (num_drafts == 0) return;
  ++statistics_.num_steps;
  statistics_.num_drafts += num_drafts;
  statistics_.num_accepted += num_accepted;
}

}  // namespace fathom
