#include "engine/model_drafter.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace fathom {
namespace {

// Steps whose time may be saved up.
constexpr double kMostSavedSteps = 16;
// Known tokens that are computed on the way to a draft; more of them are caught up with in a pass of their
// own.
constexpr int64_t kMostMissing = 16;
// Fewer passes may all have been slow ones, and long past ones say little: until then, and again, a pass is
// hoped to cost at most this share of a step, and is of few tokens.
constexpr int64_t kFewPasses = 3;
constexpr int64_t kLongPast = 256;
constexpr double kHopedShare = 0.1;
// A pass counts at most as this many such passes: one that the machine has held up is not the drafts' fault.
constexpr double kSlowest = 2;

}  // namespace

ModelDrafter::ModelDrafter(std::unique_ptr<DraftModel> model, const Choices& choices,
                           ModelDrafterOptions options)
    : model_(std::move(model)), choices_(choices), options_(std::move(options)) {}

int64_t ModelDrafter::num_known(const Sequence& sequence) const {
  return model_->rows().num_known(sequence.pages.pages(), sequence.num_computed);
}

bool ModelDrafter::in_doubt() const { return num_passes_ < kFewPasses || num_idle_steps_ > kLongPast; }

double ModelDrafter::pass_seconds(int64_t num_tokens) const {
  const double hoped = kHopedShare * all_costs_.predict(num_tokens);
  if (!pass_costs_.has_observations()) return hoped;
  const double measured = pass_costs_.predict(num_tokens);
  return in_doubt() ? std::min(measured, hoped) : measured;
}

// The draft model reads its weights once a pass, whoever drafts.
DraftPrices ModelDrafter::current_prices(int64_t num_decodes, int64_t num_drafting) const {
  DraftPrices prices = prices_of(costs_, num_decodes, num_other_tokens_);
  const int64_t num_sharing = std::max<int64_t>(num_drafting, 1);
  const double making = pass_seconds(num_sharing) / static_cast<double>(num_sharing);
  prices.per_draft += making;
  prices.hoped += making;
  return prices;
}

void ModelDrafter::choose(Scheduler& scheduler) {
  if (!costs_.has_observations()) return;
  std::vector<const Sequence*> decodes;
  int64_t num_ready = 0;
  for (const Sequence* sequence : scheduler.running()) {
    if (!sequence->is_decode()) continue;
    decodes.push_back(sequence);
    num_ready += sequence->num_tokens() - num_known(*sequence) <= kMostMissing ? 1 : 0;
  }
  if (decodes.empty()) return;
  const DraftPrices now = current_prices(std::ssize(decodes), num_ready);
  num_drafts_left_ = options_.max_drafts;
  num_rows_left_ = model_->max_tokens();
  affordable_ = account_.balance();
  for (const Sequence* sequence : decodes) consider(scheduler, *sequence, now);
}

void ModelDrafter::consider(Scheduler& scheduler, const Sequence& sequence, const DraftPrices& prices) {
  const auto choice = choices_.find(sequence.id);
  const int64_t known = num_known(sequence);
  const int64_t num_missing = sequence.num_tokens() - known;
  // The last draft is not computed.
  const int64_t most = std::min(num_drafts_left_, model_->max_positions() - sequence.num_tokens() + 1);
  if (choice == choices_.end() || most < 1) return;
  const DraftPolicy& policy = policy_of(sequence.id);
  if (num_missing > kMostMissing) {
    const bool pays = policy.choose(most, 0, prices, std::numeric_limits<double>::infinity()) > 0;
    if (pays && behind_ == nullptr) behind_ = &sequence;
    return;
  }
  if (num_missing > num_rows_left_) return;
  const int64_t count = scheduler.reserve_drafts(sequence.id, policy.choose(most, 0, prices, affordable_));
  if (count == 0) return;
  num_drafts_left_ -= count;
  num_rows_left_ -= num_missing;
  affordable_ -= prices.per_draft * static_cast<double>(count);
  drafting_.push_back({.sequence = &sequence,
                       .choice = &choice->second,
                       .first_known = known,
                       .num_known = known,
                       .num_wanted = count,
                       .generated = {sequence.tokens.begin() + sequence.prompt_len, sequence.tokens.end()},
                       .ahead = choice->second.ahead()});
}

Result<std::span<const DrawnRow>> ModelDrafter::run_timed() {
  int64_t num_tokens = 0;
  for (const SegmentInput& segment : segments_) num_tokens += segment.end - segment.begin;
  const double started = options_.now();
  FATHOM_ASSIGN_OR_RETURN(const std::span<const DrawnRow> rows, model_->run(segments_, row_draws_));
  statistics_.num_draft_model_tokens += num_tokens;
  ++num_passes_;
  num_idle_steps_ = 0;
  const double seconds = options_.now() - started;
  if (seconds > 0) {
    pass_costs_.observe(num_tokens, seconds);
    draft_seconds_ += std::min(seconds, kSlowest * pass_costs_.predict(num_tokens));
  }
  return rows;
}

// As much as the account allows in one pass.
Status ModelDrafter::catch_up() {
  if (behind_ == nullptr) return ok_status();
  const int64_t known = num_known(*behind_);
  int64_t count =
      std::min({behind_->num_computed - known, model_->max_tokens(), model_->max_positions() - known});
  if (in_doubt()) count = std::min(count, kMostMissing);
  while (count > kMostMissing && pass_seconds(count) > affordable_) count /= 2;
  if (count < 1 || pass_seconds(count) > affordable_) return ok_status();
  segments_.assign(
      1, {.tokens = behind_->tokens, .pages = behind_->pages.pages(), .begin = known, .end = known + count});
  row_draws_.clear();
  FATHOM_RETURN_IF_ERROR(run_timed().status());
  model_->rows().learn(behind_->pages.pages(), known, known + count);
  return ok_status();
}

Result<bool> ModelDrafter::draft_once() {
  segments_.clear();
  row_draws_.clear();
  in_pass_.clear();
  for (Drafting& drafting : drafting_) {
    const std::span<const int32_t> drafts = drafting.drafts();
    if (std::ssize(drafts) >= drafting.num_wanted) continue;
    segments_.push_back({.tokens = drafting.sequence->tokens,
                         .pages = drafting.sequence->pages.pages(),
                         .begin = drafting.num_known,
                         .end = drafting.sequence->num_tokens() + std::ssize(drafts),
                         .drafts = drafts,
                         .num_logits = 1});
    row_draws_.push_back(drafting.choice->guess_at(static_cast<size_t>(drafting.sequence->prompt_len),
                                                   drafting.generated.size()));
    in_pass_.push_back(&drafting);
  }
  if (segments_.empty()) return false;
  FATHOM_ASSIGN_OR_RETURN(const std::span<const DrawnRow> rows, run_timed());
  for (size_t i = 0; i < in_pass_.size(); ++i) {
    Drafting& drafting = *in_pass_[i];
    drafting.num_known = segments_[i].end;
    const auto prompt =
        std::span(drafting.sequence->tokens).first(static_cast<size_t>(drafting.sequence->prompt_len));
    const std::optional<int32_t> guess =
        drafting.choice->guess(rows[i], prompt, drafting.generated, drafting.ahead, workspace_);
    if (guess) {
      drafting.generated.push_back(*guess);
    } else {
      drafting.num_wanted = std::ssize(drafting.drafts());
    }
  }
  return true;
}

Status ModelDrafter::propose(Scheduler& scheduler) {
  drafting_.clear();
  behind_ = nullptr;
  draft_seconds_ = 0;
  ++num_idle_steps_;
  choose(scheduler);
  FATHOM_RETURN_IF_ERROR(catch_up());
  for (bool more = true; more;) {
    FATHOM_ASSIGN_OR_RETURN(more, draft_once());
  }
  for (const Drafting& drafting : drafting_) scheduler.set_drafts(drafting.sequence->id, drafting.drafts());
  return ok_status();
}

// What the draft model has computed of tokens that have become the sequence's own.
void ModelDrafter::keep_rows(const Outcome& outcome) {
  const auto drafting = std::find_if(drafting_.begin(), drafting_.end(), [&](const Drafting& candidate) {
    return candidate.sequence == outcome.sequence;
  });
  if (drafting == drafting_.end()) return;
  const int64_t end = std::min(drafting->num_known, outcome.sequence->num_tokens() + outcome.num_accepted);
  model_->rows().learn(outcome.sequence->pages.pages(), drafting->first_known, end);
}

Status ModelDrafter::observe(const Scheduler& scheduler, const BatchPlan& plan,
                             std::span<const int32_t> counts, double seconds) {
  outcomes_.clear();
  num_other_tokens_ = read_outcomes(scheduler, plan, counts, outcomes_);
  if (seconds > 0) all_costs_.observe(plan.num_tokens, seconds);
  if (num_other_tokens_ == 0 && seconds > 0) costs_.observe(plan.num_tokens, seconds);
  for (const PageCopy& copy : plan.copies) FATHOM_RETURN_IF_ERROR(model_->copy_page(copy));
  for (const Segment& segment : plan.segments) {
    model_->rows().forget(scheduler.find(segment.sequence_id)->pages.pages(), segment.begin, segment.end);
  }
  account_.spend(draft_seconds_);
  if (outcomes_.empty()) {
    account_.earn(seconds, 0, kMostSavedSteps * seconds);
    return ok_status();
  }
  const DraftPrices now = settled_prices(costs_, plan.num_tokens, outcomes_);
  int64_t num_drafts = 0, num_accepted = 0;
  for (const Outcome& outcome : outcomes_) {
    keep_rows(outcome);
    count(outcome);
    policy_of(outcome.sequence->id).record(outcome.num_drafts, outcome.num_accepted);
    if (outcome.num_drafts > 0) overall_.record(outcome.num_drafts, outcome.num_accepted);
    num_drafts += outcome.num_drafts;
    num_accepted += outcome.num_accepted;
  }
  if (num_drafts == 0) overall_.record(0, 0);
  account_.spend(now.per_draft * static_cast<double>(num_drafts));
  account_.earn(seconds, now.token_value * static_cast<double>(num_accepted),
                kMostSavedSteps * now.token_value * static_cast<double>(outcomes_.size()));
  return ok_status();
}

}  // namespace fathom
