// Which drafts each sequence's next step carries: looked up in its own text, as many as their record and what
// steps cost say are worth it. Only speed depends on it: see docs/numerics.md.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/draft_policy.h"
#include "engine/prompt_lookup.h"
#include "engine/step_costs.h"
#include "schedule/scheduler.h"

namespace fathom {

class Drafter {
 public:
  // How many drafts of all sequences a step may have.
  static int64_t max_step_drafts(int64_t max_num_seqs) {
    return std::max(max_num_seqs, DraftPolicy::kMaxDrafts);
  }

  // max_drafts: of a step, of all sequences together.
  explicit Drafter(int64_t max_drafts) : max_drafts_(max_drafts) {}

  // Sets the drafts of the next plan. num_other_tokens: that the step is expected to compute besides one for
  // each sequence that can take drafts.
  void propose(Scheduler& scheduler, const StepCosts& costs, int64_t num_other_tokens);
  // What a step of a sequence that propose() looked at computed and accepted, 0 drafts included.
  void record(SequenceId id, int64_t num_drafts, int64_t num_accepted);
  void forget(SequenceId id) { sequences_.erase(id); }

  const SpeculationStatistics& statistics() const { return statistics_; }

 private:
  struct Drafted {
    PromptLookup lookup;
    DraftPolicy policy;
  };

  int64_t max_drafts_;
  DraftPrices prices_;  // of the present step
  std::unordered_map<SequenceId, Drafted> sequences_;
  std::vector<int32_t> drafts_;  // reused
  SpeculationStatistics statistics_;
};

}  // namespace fathom
