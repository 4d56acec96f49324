// What drafts cost and save by a made-up clock, with the scheduler and without a model.
#include <gtest/gtest.h>

#include <functional>

#include "base/random.h"
#include "engine/lookup_drafter.h"

namespace fathom {
namespace {

// Of a step of so many tokens.
using Cost = std::function<double(int64_t num_tokens)>;
// What the clock shows of a step that took so long: the machine may have been busy with something else.
using Clock = std::function<double(int64_t step, double seconds)>;

struct Totals {
  double seconds = 0;  // by cost, whatever the clock showed
  int64_t num_drafts = 0;
  int64_t num_accepted = 0;
};

struct Workload {
  size_t num_sequences = 1;
  int64_t num_tokens = 300;
  bool repeats = false;  // the text, every ten tokens; else no draft ever holds
};

// The next token of a text of four letters, so that looking up always finds something.
int32_t next_token(const Workload& work, const Sequence& sequence, std::span<const int32_t> drafts) {
  const auto position = static_cast<uint64_t>(sequence.num_tokens()) + drafts.size();
  if (work.repeats) return static_cast<int32_t>(random_bits(7, position % 10) % 1000);
  const auto any = static_cast<int32_t>(random_bits(sequence.id, position) % 4);
  return !sequence.drafts.empty() && any == sequence.drafts[0] ? (any + 1) % 4 : any;
}

void answer(const Workload& work, const Scheduler& scheduler, const BatchPlan& plan,
            std::vector<int32_t>& tokens, std::vector<int32_t>& counts) {
  tokens.clear();
  counts.clear();
  for (const Segment& segment : plan.segments) {
    if (segment.num_logits == 0) continue;
    const Sequence& sequence = *scheduler.find(segment.sequence_id);
    const std::span<const int32_t> drafts(sequence.drafts);
    size_t count = 0;
    while (true) {
      tokens.push_back(next_token(work, sequence, drafts.first(count)));
      if (count == drafts.size() || drafts[count] != tokens.back()) break;
      ++count;
    }
    counts.push_back(static_cast<int32_t>(count) + 1);
  }
}

Totals run(Drafter* drafter, const Workload& work, const Cost& cost, const Clock& clock) {
  PagePool pool(256, 16);
  Scheduler scheduler({.max_num_seqs = 16, .max_num_batched_tokens = 512, .max_model_len = 1024}, pool,
                      KeyedHash::create().value());
  for (size_t i = 0; i < work.num_sequences; ++i) {
    EXPECT_TRUE(scheduler.submit({.prompt = {0, 1, 2, 3}, .max_tokens = work.num_tokens}).ok());
  }
  Totals totals;
  std::vector<int32_t> tokens, counts;
  for (int64_t step = 0; !scheduler.idle(); ++step) {
    if (drafter != nullptr) {
      EXPECT_TRUE(drafter->propose(scheduler).ok());
    }
    const BatchPlan& plan = scheduler.plan();
    answer(work, scheduler, plan, tokens, counts);
    const double seconds = cost(plan.num_tokens);
    totals.seconds += seconds;
    if (drafter != nullptr) {
      EXPECT_TRUE(drafter->observe(scheduler, plan, counts, clock(step, seconds)).ok());
    }
    scheduler.commit(tokens, counts);
  }
  if (drafter != nullptr) {
    totals.num_drafts = drafter->statistics().num_drafts;
    totals.num_accepted = drafter->statistics().num_accepted;
  }
  return totals;
}

Totals run_lookup(const Workload& work, const Cost& cost, const Clock& clock) {
  LookupDrafter drafter(16);
  return run(&drafter, work, cost, clock);
}

double exact(int64_t, double seconds) { return seconds; }
// A step in twenty takes long.
double noisy(int64_t step, double seconds) {
  return random_uniform(3, static_cast<uint64_t>(step)) < 0.05 ? 30 * seconds : seconds;
}

const Cost kCosts[] = {
    [](int64_t n) { return 50e-3 + 1e-3 * static_cast<double>(n); },   // dense: rows are nearly free
    [](int64_t n) { return 40e-3 + 12e-3 * static_cast<double>(n); },  // experts of their own for each row
    [](int64_t n) { return 30e-3 * static_cast<double>(n); },          // no row is any cheaper than a step
    [](int64_t n) { return n <= 2 ? 20e-3 : 60e-3; },                  // another kernel from three rows on
};

TEST(DraftBound, NothingHeldCostsFivePercentAtMost) {
  for (const Cost& cost : kCosts) {
    for (const size_t num_sequences : {1, 4, 16}) {
      for (const Clock& clock : {Clock(exact), Clock(noisy)}) {
        for (const int64_t num_tokens : {30, 300}) {
          const Workload work{.num_sequences = num_sequences, .num_tokens = num_tokens};
          const double plain = run(nullptr, work, cost, clock).seconds;
          const Totals drafting = run_lookup(work, cost, clock);
          EXPECT_EQ(drafting.num_accepted, 0);
          EXPECT_LE(drafting.seconds, 1.05 * plain)
              << "cost " << &cost - kCosts << ", " << num_sequences << " sequences, " << num_tokens
              << " tokens, " << drafting.num_drafts << " drafts";
        }
      }
    }
  }
}

TEST(DraftBound, TriesAndGainsWhereTextRepeats) {
  const Workload work{.num_tokens = 400, .repeats = true};
  const double plain = run(nullptr, work, kCosts[0], exact).seconds;
  EXPECT_LT(run_lookup(work, kCosts[0], exact).seconds, 0.25 * plain);
  EXPECT_LT(run_lookup(work, kCosts[1], exact).seconds, 0.8 * plain);
}

// Also where no step of fewer sequences was ever seen.
TEST(DraftBound, TriesInBatches) {
  for (const size_t num_sequences : {2, 4, 8}) {
    const Workload work{.num_sequences = num_sequences, .num_tokens = 400, .repeats = true};
    const double plain = run(nullptr, work, kCosts[0], exact).seconds;
    EXPECT_LT(run_lookup(work, kCosts[0], exact).seconds, 0.6 * plain) << num_sequences;
  }
}

// Wherever it falls, and on a machine that is never quiet.
TEST(DraftBound, SlowStepsDoNotSwitchDraftsOff) {
  const Workload work{.num_tokens = 400, .repeats = true};
  const double plain = run(nullptr, work, kCosts[0], exact).seconds;
  for (int64_t slow = 0; slow < 60; ++slow) {
    const auto clock = [slow](int64_t step, double seconds) {
      return step == slow ? 100 * seconds : seconds;
    };
    EXPECT_LT(run_lookup(work, kCosts[0], clock).seconds, 0.4 * plain) << slow;
  }
  EXPECT_LT(run_lookup(work, kCosts[0], noisy).seconds, 0.4 * plain);
}

}  // namespace
}  // namespace fathom
