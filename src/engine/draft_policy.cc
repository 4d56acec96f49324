#include "engine/draft_policy.h"

#include <algorithm>

namespace fathom {
namespace {

// Weight of a new draft in the running acceptance.
constexpr double kLearning = 0.15;
// A step without drafts moves the acceptance this part of the way back, so that it is tried again later.
constexpr double kForgetting = 0.02;
constexpr double kPrior = 0.6;
// Places that agree so far are trusted more than the sequence's record.
constexpr int64_t kLongMatch = 12;
constexpr double kLongMatchAcceptance = 0.75;

}  // namespace

void DraftAccount::earn(double step_time, double saved, double most) {
  balance_ = std::max(balance_, std::min(balance_ + kMaxLoss * step_time + saved, most));
}

int64_t DraftPolicy::choose(int64_t num_available, int64_t match_length, const DraftPrices& prices,
                            double affordable) const {
  const double acceptance =
      match_length >= kLongMatch ? std::max(acceptance_, kLongMatchAcceptance) : acceptance_;
  int64_t best = 0;
  double best_gain = 0, accepted = 0, all_right = 1;
  for (int64_t k = 1; k <= std::min(num_available, kMaxDrafts); ++k) {
    const double cost = prices.per_draft * static_cast<double>(k);
    if (cost > affordable) break;
    all_right *= acceptance;
    accepted += all_right;
    const double gain = accepted * prices.token_value - prices.hoped * static_cast<double>(k);
    if (gain > best_gain) {
      best_gain = gain;
      best = k;
    }
  }
  return best;
}

void DraftPolicy::record(int64_t num_drafts, int64_t num_accepted) {
  if (num_drafts == 0) {
    acceptance_ += kForgetting * (kPrior - acceptance_);
    return;
  }
  for (int64_t i = 0; i < std::min(num_drafts, num_accepted + 1); ++i)
    acceptance_ += kLearning * ((i < num_accepted ? 1.0 : 0.0) - acceptance_);
}

}  // namespace fathom
