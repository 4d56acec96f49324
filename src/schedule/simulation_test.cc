// The scheduler under random arrivals, cancels and small pools, with a model whose every token is a hash of
// the whole prefix, read back through the page tables: a page lost, shared or written by another sequence, a
// position skipped or computed in the wrong form changes the output.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/random.h"
#include "schedule/scheduler.h"

namespace fathom {
namespace {

constexpr int32_t kVocabulary = 1000;

enum class Form { kPrompt, kGenerated };

uint64_t chain(uint64_t previous, int32_t token, Form form) {
  return mix_bits(previous ^ mix_bits(static_cast<uint64_t>(token) * 2 + (form == Form::kPrompt ? 0 : 1)));
}

int32_t next_token(uint64_t hash) { return static_cast<int32_t>(hash % kVocabulary); }
bool is_stop(int32_t token) { return token % 200 == 5; }

struct Expected {
  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::kNone;
};

// What a request gives alone.
Expected run_alone(const std::vector<int32_t>& prompt, int64_t max_len) {
  Expected expected{prompt};
  uint64_t hash = 0;
  for (int32_t token : prompt) hash = chain(hash, token, Form::kPrompt);
  while (expected.reason == FinishReason::kNone) {
    const int32_t token = next_token(hash);
    expected.tokens.push_back(token);
    hash = chain(hash, token, Form::kGenerated);
    if (static_cast<int64_t>(expected.tokens.size()) == max_len) expected.reason = FinishReason::kLength;
    if (is_stop(token)) expected.reason = FinishReason::kStop;
  }
  return expected;
}

class Simulation {
 public:
  explicit Simulation(uint64_t seed)
      : key_(random_key(seed, "simulation")),
        pool_(static_cast<int32_t>(draw(2, 40)), static_cast<int32_t>(draw(1, 8))),
        config_(draw_config()),
        scheduler_(config_, pool_),
        cache_(static_cast<size_t>(pool_.capacity())) {}

  void run() {
    const int64_t num_requests = draw(1, 25);
    const int64_t arrival_chance = draw(1, 100);
    const int64_t cancel_chance = draw(0, 3) == 0 ? draw(0, 20) : 0;
    int64_t num_submitted = 0;
    for (int64_t num_steps = 0; num_submitted < num_requests || !scheduler_.idle(); ++num_steps) {
      ASSERT_LT(num_steps, 20000) << "no end";
      while (num_submitted < num_requests && draw(1, 100) <= arrival_chance) {
        submit();
        ++num_submitted;
      }
      if (draw(1, 100) <= cancel_chance) cancel_any();
      step(draw(1, 100) <= cancel_chance);
      if (::testing::Test::HasFatalFailure()) return;
    }
    commit_empty();
    EXPECT_EQ(pool_.num_used(), 0);
    EXPECT_TRUE(expected_.empty());
  }

  int64_t num_preemptions() const { return scheduler_.statistics().num_preemptions; }

 private:
  struct Entry {
    SequenceId id = 0;
    int64_t position = -1;
    uint64_t hash = 0;
  };

  int64_t draw(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_bits(key_, counter_++) % static_cast<uint64_t>(high - low + 1));
  }

  SchedulerConfig draw_config() {
    SchedulerConfig config;
    config.max_num_seqs = draw(1, 8);
    config.max_num_waiting = draw(1, 30);
    config.max_num_batched_tokens = config.max_num_seqs + draw(0, 40);
    config.min_chunk_tokens = draw(1, 12);
    config.max_model_len = draw(2, 80);
    return config;
  }

  void submit() {
    std::vector<int32_t> prompt(static_cast<size_t>(draw(0, draw(0, 2) == 0 ? 90 : 20)));
    for (int32_t& token : prompt) token = static_cast<int32_t>(draw(0, kVocabulary - 1));
    const int64_t prompt_len = static_cast<int64_t>(prompt.size());
    const int64_t max_tokens = draw(0, 50);
    const bool valid = prompt_len >= 1 && max_tokens >= 1 && prompt_len < config_.max_model_len &&
                       prompt_len <= pool_.capacity();
    const bool has_room = scheduler_.statistics().num_waiting < config_.max_num_waiting;
    const Result<SequenceId> id = scheduler_.submit(prompt, max_tokens);
    ASSERT_EQ(id.ok(), valid && has_room) << id.status().message();
    if (!id.ok()) return;
    const int64_t max_len = std::min({prompt_len + max_tokens, config_.max_model_len, pool_.capacity() + 1});
    expected_[*id] = run_alone(prompt, max_len);
  }

  void cancel_any() {
    if (expected_.empty()) return;
    const auto place = std::next(expected_.begin(), draw(0, static_cast<int64_t>(expected_.size()) - 1));
    EXPECT_TRUE(scheduler_.cancel(place->first));
    expected_.erase(place);
  }

  // Plans, computes, commits, and takes the finished ones out.
  void step(bool cancels_inside) {
    const Sequence* oldest = expected_.empty() ? nullptr : scheduler_.find(expected_.begin()->first);
    const int64_t oldest_computed = oldest == nullptr ? 0 : oldest->num_computed;
    const BatchPlan& plan = scheduler_.plan();
    check_plan(plan);
    if (::testing::Test::HasFatalFailure()) return;
    if (oldest != nullptr) {
      ASSERT_EQ(oldest->state, SequenceState::kRunning) << "oldest " << oldest->id;
      ASSERT_EQ(oldest->num_computed, oldest_computed) << "oldest " << oldest->id << " was preempted";
    }
    std::vector<int32_t> sampled;
    for (const Segment& segment : plan.segments) {
      const uint64_t hash = compute(segment);
      if (segment.wants_logits) sampled.push_back(next_token(hash));
    }
    if (cancels_inside) cancel_any();
    scheduler_.commit(sampled);
    if (oldest != nullptr && oldest->state == SequenceState::kRunning) {
      ASSERT_GT(oldest->num_computed, oldest_computed) << "oldest " << oldest->id << " stands still";
    }
    collect(plan);
    check_integrity();
  }

  void check_plan(const BatchPlan& plan) {
    check_integrity();
    std::set<SequenceId> ids;
    int64_t num_tokens = 0;
    int64_t num_logits = 0;
    SequenceId last_of_group = 0;
    bool in_decodes = true;
    for (const Segment& segment : plan.segments) {
      const Sequence* sequence = scheduler_.find(segment.sequence_id);
      ASSERT_NE(sequence, nullptr);
      ASSERT_EQ(sequence->state, SequenceState::kRunning);
      ASSERT_TRUE(ids.insert(segment.sequence_id).second) << "two segments of " << segment.sequence_id;
      ASSERT_EQ(segment.begin, sequence->num_computed);
      ASSERT_LT(segment.begin, segment.end);
      ASSERT_LE(segment.end, sequence->num_tokens());
      ASSERT_LE(segment.end, sequence->pages.capacity());
      ASSERT_TRUE(segment.end <= sequence->prompt_len || segment.begin >= sequence->prompt_len)
          << "[" << segment.begin << ", " << segment.end << ") crosses prompt_len " << sequence->prompt_len;
      ASSERT_EQ(segment.wants_logits, segment.end == sequence->num_tokens());
      const bool decode =
          segment.begin >= sequence->prompt_len && segment.begin + 1 == sequence->num_tokens();
      ASSERT_TRUE(in_decodes || !decode) << "a decode segment after a chunk";
      if (in_decodes && !decode) last_of_group = 0;
      in_decodes = decode;
      ASSERT_GT(segment.sequence_id, last_of_group);
      last_of_group = segment.sequence_id;
      num_tokens += segment.end - segment.begin;
      num_logits += segment.wants_logits ? 1 : 0;
    }
    ASSERT_EQ(plan.num_tokens, num_tokens);
    ASSERT_EQ(plan.num_logits, num_logits);
    ASSERT_LE(num_tokens, config_.max_num_batched_tokens);
    ASSERT_LE(scheduler_.statistics().num_running, config_.max_num_seqs);
  }

  void check_integrity() {
    const Status status = scheduler_.check_integrity();
    ASSERT_TRUE(status.ok()) << status.message();
  }

  // Writes the segment's latents; returns the last one.
  uint64_t compute(const Segment& segment) {
    const Sequence& sequence = *scheduler_.find(segment.sequence_id);
    uint64_t hash = 0;
    // A real model reads the whole prefix: so does this one.
    for (int64_t position = 0; position < segment.begin; ++position) {
      const Entry& entry = cache_[static_cast<size_t>(sequence.pages.slot(position))];
      EXPECT_EQ(entry.id, sequence.id) << "position " << position;
      EXPECT_EQ(entry.position, position);
      hash = entry.hash;
    }
    const Form form = segment.begin < sequence.prompt_len ? Form::kPrompt : Form::kGenerated;
    for (int64_t position = segment.begin; position < segment.end; ++position) {
      hash = chain(hash, sequence.tokens[static_cast<size_t>(position)], form);
      cache_[static_cast<size_t>(sequence.pages.slot(position))] = {sequence.id, position, hash};
    }
    return hash;
  }

  void collect(const BatchPlan& plan) {
    for (const Segment& segment : plan.segments) {
      const Sequence* sequence = scheduler_.find(segment.sequence_id);
      ASSERT_NE(sequence, nullptr);
      if (sequence->finish_reason == FinishReason::kCancelled) continue;
      if (segment.wants_logits && is_stop(sequence->tokens.back())) {
        ASSERT_TRUE(scheduler_.finish(sequence->id, FinishReason::kStop));
      }
      if (sequence->state != SequenceState::kFinished) continue;
      const Expected& expected = expected_.at(sequence->id);
      ASSERT_EQ(sequence->tokens, expected.tokens) << "sequence " << sequence->id;
      ASSERT_EQ(sequence->finish_reason, expected.reason) << "sequence " << sequence->id;
      expected_.erase(sequence->id);
    }
  }

  void commit_empty() {
    EXPECT_TRUE(scheduler_.plan().segments.empty());
    scheduler_.commit({});
  }

  uint64_t key_;
  uint64_t counter_ = 0;
  PagePool pool_;
  SchedulerConfig config_;
  Scheduler scheduler_;
  std::vector<Entry> cache_;                 // [slots]
  std::map<SequenceId, Expected> expected_;  // of live sequences, oldest first
};

TEST(SchedulerSimulation, EveryOutputIsThatOfTheRequestAlone) {
  int64_t num_preemptions = 0;
  int64_t num_seeds_with_preemption = 0;
  for (uint64_t seed = 0; seed < 10000; ++seed) {
    Simulation simulation(seed);
    simulation.run();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
    num_preemptions += simulation.num_preemptions();
    num_seeds_with_preemption += simulation.num_preemptions() > 0 ? 1 : 0;
  }
  RecordProperty("preemptions", std::to_string(num_preemptions));
  // The simulation must reach what it is meant to test.
  EXPECT_GT(num_seeds_with_preemption, 1000);
  EXPECT_GT(num_preemptions, 5000);
}

}  // namespace
}  // namespace fathom
