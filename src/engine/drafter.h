// Who guesses the tokens after the next one, for all sequences of a step. Only speed depends on it: see
// docs/numerics.md. The engine calls, in this order: propose(), Scheduler::plan(), observe(),
// Scheduler::commit().
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/draft_policy.h"
#include "engine/step_costs.h"
#include "schedule/scheduler.h"

namespace fathom {

class Drafter {
 public:
  // How many drafts of all sequences a step may have.
  static int64_t max_step_drafts(int64_t max_num_seqs) {
    return std::max(max_num_seqs, DraftPolicy::kMaxDrafts);
  }

  virtual ~Drafter() = default;

  // Sets the drafts of the next plan. Failure: the device's.
  virtual Status propose(Scheduler& scheduler) = 0;
  // The plan has been computed, in so many seconds, and is not committed yet; counts as commit() takes them.
  virtual Status observe(const Scheduler& scheduler, const BatchPlan& plan, std::span<const int32_t> counts,
                         double seconds) = 0;
  virtual void forget(SequenceId id) = 0;

  const SpeculationStatistics& statistics() const { return statistics_; }

 protected:
  // What a plan that has been computed did for a sequence with one generated token to compute.
  struct Outcome {
    const Sequence* sequence = nullptr;
    int64_t num_drafts = 0;
    int64_t num_accepted = 0;
  };

  // Appends the plan's outcomes; returns how many tokens it had besides.
  static int64_t read_outcomes(const Scheduler& scheduler, const BatchPlan& plan,
                               std::span<const int32_t> counts, std::vector<Outcome>& outcomes);
  // What a step of so many such sequences beside num_other_tokens costs, and what one draft more adds to it.
  static DraftPrices prices_of(const StepCosts& costs, int64_t num_decodes, int64_t num_other_tokens);
  // The same for the outcomes of a step that has been computed, from what it has taught.
  static DraftPrices settled_prices(const StepCosts& costs, int64_t num_tokens,
                                    std::span<const Outcome> outcomes);
  void count(const Outcome& outcome);

  SpeculationStatistics statistics_;
};

}  // namespace fathom
