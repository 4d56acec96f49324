// How many draft tokens a sequence's step should carry. A draft that is accepted saves a step, one that is
// not costs what its rows cost, and with experts every row reads weights of its own. The policy weighs the
// two by how often this sequence's drafts were accepted, and keeps an account: what drafts have cost beyond
// what they saved never exceeds a small share of the sequence's steps.
#pragma once

#include <cstdint>

namespace fathom {

struct SpeculationStatistics {
  int64_t num_steps = 0;     // with drafts
  int64_t num_drafts = 0;    // tokens
  int64_t num_accepted = 0;  // of them
};

// What the current batch's step costs, in any unit of time.
struct DraftPrices {
  double token_value = 1;  // of a generated token: a step without drafts over its sequences
  double per_draft = 0;    // what a draft token adds to the step
};

// One per sequence.
class DraftPolicy {
 public:
  // Share of a sequence's steps that drafts may lose.
  static constexpr double kMaxLoss = 0.04;
  static constexpr int64_t kMaxDrafts = 15;

  // The best number of drafts out of num_available, whose place agreed in match_length tokens; 0 where none
  // pays or the account does not allow it.
  int64_t choose(int64_t num_available, int64_t match_length, const DraftPrices& prices) const;
  // After a step of this sequence with num_drafts >= 0, of which num_accepted were right.
  void record(int64_t num_drafts, int64_t num_accepted, const DraftPrices& prices);

  // What may be lost now, in tokens' values.
  double account() const { return account_; }

 private:
  double acceptance_ = 0.6;  // of one draft, given that those before it were right
  double account_ = 0;
};

}  // namespace fathom
