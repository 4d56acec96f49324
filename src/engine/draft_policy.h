// How many draft tokens a sequence's step should carry. A draft that is accepted saves a step, one that is
// not costs what its rows cost, and with experts every row reads weights of its own. The policy weighs the
// two by how often drafts were accepted; an account sees to it that what drafts have cost beyond what they
// saved never exceeds a small share of the steps' time.
#pragma once

#include <cstdint>

namespace fathom {

struct SpeculationStatistics {
  int64_t num_steps = 0;     // of a sequence, with drafts
  int64_t num_drafts = 0;    // tokens
  int64_t num_accepted = 0;  // of them
  // Computed by the draft model: drafts, and known tokens that it had not seen.
  int64_t num_draft_model_tokens = 0;
};

// What the current batch's step costs, in any unit of time.
struct DraftPrices {
  double token_value = 1;  // of a generated token: a step without drafts over its sequences
  double per_draft = 0;    // what a draft token adds to the step, its making included, at the worst
  double hoped = 0;        // the same at the best, where too little is known: worth a try if that pays
};

// What drafts may lose, in the prices' unit of time.
class DraftAccount {
 public:
  // Share of the steps' time that drafts may lose.
  static constexpr double kMaxLoss = 0.04;

  // Steps took step_time, apart from drafts, and accepted drafts saved `saved`. What the balance gains stops
  // at `most`: text that turns unpredictable loses no more than that at once.
  void earn(double step_time, double saved, double most);
  void spend(double time) { balance_ -= time; }

  double balance() const { return balance_; }

 private:
  double balance_ = 0;
};

// One per sequence.
class DraftPolicy {
 public:
  static constexpr int64_t kMaxDrafts = 15;

  // The best number of drafts out of num_available; 0 where none pays, or `affordable` does not allow it.
  // match_length: tokens in which the place that they come from agrees, 0 where they come from a model.
  int64_t choose(int64_t num_available, int64_t match_length, const DraftPrices& prices,
                 double affordable) const;
  // After a step of this sequence with num_drafts >= 0, of which num_accepted were right.
  void record(int64_t num_drafts, int64_t num_accepted);

 private:
  double acceptance_ = 0.6;  // of one draft, given that those before it were right
};

}  // namespace fathom
