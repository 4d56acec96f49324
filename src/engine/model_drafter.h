// Drafts by a second model: which sequences it drafts for, how many tokens, and when it makes up for what it
// has not seen of them. A draft is the token that the answer's own sampler draws from the draft model's
// logits, with the same random numbers, penalties and constraint: so two models that agree nearly draw the
// same token nearly always, sampled answers included.
//
// All of it is paid for from one account: the draft model's passes and the rows that drafts add to steps may
// lose DraftAccount::kMaxLoss of the steps' time and what accepted drafts have saved. So the draft model is
// behind at first; it catches up with a prompt as fast as the account allows, and follows no sequence whose
// drafts would not pay.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/choice.h"
#include "engine/draft_model.h"
#include "engine/drafter.h"

namespace fathom {

struct ModelDrafterOptions {
  int64_t max_drafts = 0;       // of a step, of all sequences together
  std::function<double()> now;  // seconds
};

class ModelDrafter final : public Drafter {
 public:
  using Choices = std::map<SequenceId, Choice>;
  // choices are borrowed.
  ModelDrafter(std::unique_ptr<DraftModel> model, const Choices& choices, ModelDrafterOptions options);

  Status propose(Scheduler& scheduler) override;
  Status observe(const Scheduler& scheduler, const BatchPlan& plan, std::span<const int32_t> counts,
                 double seconds) override;
  void forget(SequenceId id) override { policies_.erase(id); }

 private:
  // A sequence that gets drafts in this step.
  struct Drafting {
    const Sequence* sequence = nullptr;
    const Choice* choice = nullptr;
    int64_t first_known = 0;  // tokens that the draft model had computed before
    int64_t num_known = 0;    // and has now, drafts included
    int64_t num_wanted = 0;   // drafts
    std::vector<int32_t> generated;
    std::optional<ConstraintMatcher> ahead;

    std::span<const int32_t> drafts() const {
      return std::span(generated).subspan(static_cast<size_t>(sequence->num_tokens() - sequence->prompt_len));
    }
  };

  int64_t num_known(const Sequence& sequence) const;
  DraftPolicy& policy_of(SequenceId id) { return policies_.try_emplace(id, overall_).first->second; }
  bool in_doubt() const;
  double pass_seconds(int64_t num_tokens) const;
  DraftPrices current_prices(int64_t num_decodes, int64_t num_drafting) const;
  void choose(Scheduler& scheduler);
  void consider(Scheduler& scheduler, const Sequence& sequence, const DraftPrices& prices);
  Status catch_up();
  // One pass for all that want another draft; false where none does.
  Result<bool> draft_once();
  Result<std::span<const DrawnRow>> run_timed();
  void keep_rows(const Outcome& outcome);

  std::unique_ptr<DraftModel> model_;
  const Choices& choices_;
  ModelDrafterOptions options_;
  // Of the model's steps, the drafts' making apart: of those without prompts, whose rows cost otherwise, and
  // of all.
  StepCosts costs_;
  StepCosts all_costs_;
  StepCosts pass_costs_;  // of the draft model's passes
  int64_t num_passes_ = 0;
  int64_t num_idle_steps_ = 0;    // since the last pass
  int64_t num_other_tokens_ = 0;  // of the last step: the next one is expected to have as many
  DraftAccount account_;
  DraftPolicy overall_;  // what a new sequence is expected to be like
  std::unordered_map<SequenceId, DraftPolicy> policies_;

  // Of one step.
  std::vector<Drafting> drafting_;
  const Sequence* behind_ = nullptr;  // to be caught up with, or null
  int64_t num_drafts_left_ = 0;
  int64_t num_rows_left_ = 0;  // of the first pass
  double affordable_ = 0;
  double draft_seconds_ = 0;
  std::vector<SegmentInput> segments_;
  std::vector<RowDraw> row_draws_;  // of a pass
  std::vector<Drafting*> in_pass_;  // per segment
  std::vector<Outcome> outcomes_;
  ChoiceWorkspace workspace_;
};

}  // namespace fathom
