#include "engine/drafter.h"

namespace fathom {
namespace {

// A step's growth is looked at over so many drafts: a smaller difference drowns in noise.
constexpr int64_t kGrowthTokens = 8;
// No draft is taken for free, whatever was measured: share of a step.
constexpr double kLeastPrice = 0.01;
// Until larger steps are known a draft is hoped to cost this share of a token's value.
constexpr double kHopedPrice = 0.2;

}  // namespace

int64_t Drafter::read_outcomes(const Scheduler& scheduler, const BatchPlan& plan,
                               std::span<const int32_t> counts, std::vector<Outcome>& outcomes) {
  int64_t num_other_tokens = plan.num_tokens;
  size_t index = 0;
  for (const Segment& segment : plan.segments) {
    if (segment.num_logits == 0) continue;
    const int64_t num_tokens = counts[index++];
    const Sequence* sequence = scheduler.find(segment.sequence_id);
    if (segment.begin < sequence->prompt_len || segment.num_logits != segment.end - segment.begin) continue;
    num_other_tokens -= segment.num_logits;
    outcomes.push_back({sequence, segment.num_logits - 1, num_tokens - 1});
  }
  return num_other_tokens;
}

DraftPrices Drafter::prices_of(const StepCosts& costs, int64_t num_decodes, int64_t num_other_tokens) {
  const int64_t num_tokens = num_decodes + num_other_tokens;
  const double step = costs.predict(num_tokens);
  const double growth = (costs.predict(num_tokens + kGrowthTokens) - step) / kGrowthTokens;
  const double token_value = step / static_cast<double>(num_decodes);
  const double per_draft = std::max(growth, kLeastPrice * step);
  const bool is_known = costs.knows_beyond(num_tokens);
  return {.token_value = token_value,
          .per_draft = per_draft,
          .hoped = is_known ? per_draft : std::min(per_draft, kHopedPrice * token_value)};
}

DraftPrices Drafter::settled_prices(const StepCosts& costs, int64_t num_tokens,
                                    std::span<const Outcome> outcomes) {
  int64_t num_drafts = 0;
  for (const Outcome& outcome : outcomes) num_drafts += outcome.num_drafts;
  const double step = costs.predict(num_tokens - num_drafts);
  const double growth =
      (costs.predict(num_tokens) - step) / static_cast<double>(std::max<int64_t>(num_drafts, 1));
  const double per_draft = std::max(growth, kLeastPrice * step);
  return {
      .token_value = step / static_cast<double>(outcomes.size()), .per_draft = per_draft, .hoped = per_draft};
}

void Drafter::count(const Outcome& outcome) {
  if (outcome.num_drafts == 0) return;
  ++statistics_.num_steps;
  statistics_.num_drafts += outcome.num_drafts;
  statistics_.num_accepted += outcome.num_accepted;
}

}  // namespace fathom
