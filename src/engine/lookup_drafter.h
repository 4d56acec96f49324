// Drafts looked up in a sequence's own text, as many as its record and what steps cost say are worth it.
#pragma once

#include <unordered_map>
#include <vector>

#include "engine/drafter.h"
#include "engine/prompt_lookup.h"

namespace fathom {

class LookupDrafter final : public Drafter {
 public:
  // max_drafts: of a step, of all sequences together.
  explicit LookupDrafter(int64_t max_drafts) : max_drafts_(max_drafts) {}

  Status propose(Scheduler& scheduler) override;
  Status observe(const Scheduler& scheduler, const BatchPlan& plan, std::span<const int32_t> counts,
                 double seconds) override;
  void forget(SequenceId id) override { sequences_.erase(id); }

 private:
  struct Drafted {
    PromptLookup lookup;
    DraftPolicy policy;
    DraftAccount account;
  };

  int64_t max_drafts_;
  StepCosts costs_;               // of steps without prompts, whose rows cost otherwise
  int64_t num_other_tokens_ = 0;  // of the last step: the next one is expected to have as many
  std::unordered_map<SequenceId, Drafted> sequences_;
  std::vector<int32_t> drafts_;    // reused
  std::vector<Outcome> outcomes_;  // reused
};

}  // namespace fathom
