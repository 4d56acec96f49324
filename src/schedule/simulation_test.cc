// The scheduler under random arrivals, forks, priorities, salts, drafts and cancels, in one or several small
// pools, with a model that notices every wrong page (schedule/fake_model.h). Whatever happens, each
// sequence's tokens are those of its request alone. A seed decides everything; one seed alone is run by
// --gtest_random_seed=SEED.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/random.h"
#include "schedule/fake_model.h"
#include "schedule/scheduler.h"
#include "support/sanitizer.h"

namespace fathom {
namespace {

bool is_stop(int32_t token) { return token % 250 == 5; }

struct Tally {
  int64_t num_requests = 0;
  int64_t num_preemptions = 0;
  int64_t num_cached_tokens = 0;
  int64_t num_evictions = 0;
  int64_t num_copies = 0;
  int64_t num_drafts_held = 0;
  int64_t num_drafts_failed = 0;
  int64_t num_starved = 0;
  int64_t num_cancelled = 0;
  int64_t num_elsewhere = 0;  // that did not begin in the first home
  int64_t num_moved = 0;      // to another home when they were preempted
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed)
      : key_(random_key(seed, "simulation")),
        is_tight_(draw(0, 1) == 0),
        pools_(draw_pools()),
        config_(draw_config()),
        scheduler_(config_, borrowed(pools_), KeyedHash::create().value()),
        model_(*pools_[0], pools_.size()) {}

  void run(Tally& tally) {
    const int64_t num_requests = draw(1, 30);
    const int64_t arrival_chance = draw(5, 100);
    cancel_chance_ = draw(0, 3) == 0 ? draw(1, 20) : 0;
    draft_chance_ = draw(0, 1) == 0 ? draw(1, 100) : 0;
    lowers_budget_ = draw(0, 3) == 0;
    int64_t num_submitted = 0;
    while (num_submitted < num_requests || !scheduler_.idle()) {
      while (num_submitted < num_requests && draw(1, 100) <= arrival_chance) {
        submit();
        ++num_submitted;
      }
      maybe_cancel();
      step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    EXPECT_TRUE(scheduler_.plan().segments.empty());
    scheduler_.commit({}, {});
    check_integrity();
    for (const auto& pool : pools_) EXPECT_EQ(pool->num_used(), 0);
    EXPECT_TRUE(live_.empty());
    add_to(tally);
  }

 private:
  struct Live {
    FakeModel::Request request;
    std::vector<int32_t> tokens = {};  // that it will have
    FinishReason reason = FinishReason::kNone;
    int64_t num_waited = 0;  // steps in line
    int64_t num_admissions = 0;
    int64_t home = 0;  // of the last one
  };

  int64_t draw(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_bits(key_, counter_++) % static_cast<uint64_t>(high - low + 1));
  }

  using Pools = std::vector<std::unique_ptr<PagePool>>;

  Pools draw_pools() {
    const auto num_pages = static_cast<int32_t>(is_tight_ ? draw(2, 16) : draw(2, 60));
    const auto block_size = static_cast<int32_t>(is_tight_ ? draw(1, 6) : draw(1, 16));
    Pools pools;
    for (int64_t i = draw(0, 1) == 0 ? 1 : draw(2, 4); i > 0; --i)
      pools.push_back(std::make_unique<PagePool>(num_pages, block_size));
    return pools;
  }

  static std::vector<PagePool*> borrowed(const Pools& pools) {
    std::vector<PagePool*> all;
    for (const auto& pool : pools) all.push_back(pool.get());
    return all;
  }

  SchedulerConfig draw_config() {
    SchedulerConfig config;
    config.max_num_seqs = draw(1, 8);
    config.max_num_waiting = draw(4, 30);
    config.max_num_batched_tokens = config.max_num_seqs + draw(0, 40);
    config.min_chunk_tokens = draw(1, 12);
    config.max_prefill_tokens = draw(0, 3) == 0 ? draw(1, 10) : 0;
    config.max_prefill_seqs = draw(0, 3) == 0 ? draw(1, 3) : 0;
    config.max_model_len = draw(2, 150);
    config.max_preemptions = draw(0, 3);
    config.max_wait_steps = draw(0, 1) == 0 ? draw(0, 20) : 1000;
    config.min_copy_tokens = draw(1, 6);
    config.expanded_prompt_tokens = draw(1, 60);
    return config;
  }

  // One token for all or few different ones, the beginning of an earlier conversation, or anything.
  std::vector<int32_t> draw_prompt() {
    std::vector<int32_t> prompt;
    if (!texts_.empty() && draw(0, 3) > 0) {
      const std::vector<int32_t>& text =
          texts_[static_cast<size_t>(draw(0, static_cast<int64_t>(texts_.size()) - 1))];
      const auto size = static_cast<int64_t>(text.size());
      prompt.assign(text.begin(), text.begin() + (draw(0, 1) == 0 ? size : draw(0, size)));
    }
    const int32_t variety = draw(0, 2) == 0 ? FakeModel::kVocabulary : static_cast<int32_t>(draw(1, 2));
    for (int64_t i = draw(0, draw(0, 2) == 0 && !is_tight_ ? 70 : 12); i > 0; --i)
      prompt.push_back(static_cast<int32_t>(draw(0, variety - 1)));
    return prompt;
  }

  void submit() {
    SubmitOptions options{.prompt = draw_prompt(),
                          .max_tokens = draw(0, 60),
                          .priority = static_cast<int32_t>(draw(-1, 1)),
                          .salt = draw(0, 3) == 0 ? "other" : "",
                          .num_sequences = draw(0, 3) == 0 ? draw(2, 4) : 1};
    const auto prompt_len = static_cast<int64_t>(options.prompt.size());
    const bool valid = prompt_len >= 1 && options.max_tokens >= 1 && prompt_len < config_.max_model_len &&
                       prompt_len <= pools_[0]->capacity();
    const bool has_room =
        scheduler_.statistics().num_waiting + options.num_sequences <= config_.max_num_waiting;
    const auto ids = scheduler_.submit(options);
    ASSERT_EQ(ids.ok(), valid && has_room) << ids.status().message();
    if (!ids.ok()) return;
    ASSERT_EQ(static_cast<int64_t>(ids->size()), options.num_sequences);
    Live live{.request = {.prompt = options.prompt,
                          .salt = options.salt,
                          .expanded_prompt_tokens = config_.expanded_prompt_tokens}};
    const int64_t max_len =
        std::min({prompt_len + options.max_tokens, config_.max_model_len, pools_[0]->capacity() + 1});
    live.tokens = FakeModel::answer_alone(live.request, max_len - prompt_len);
    const auto stop = std::find_if(live.tokens.begin() + prompt_len, live.tokens.end(), is_stop);
    live.reason = stop == live.tokens.end() ? FinishReason::kLength : FinishReason::kStop;
    if (stop != live.tokens.end()) live.tokens.erase(stop + 1, live.tokens.end());
    texts_.push_back(live.tokens);
    for (SequenceId id : *ids) live_.emplace(id, live);
    max_steps_ += options.num_sequences * (max_len + 1) * (config_.max_preemptions + 1);
    tally_.num_requests += options.num_sequences;
  }

  void maybe_cancel() {
    if (live_.empty() || draw(1, 100) > cancel_chance_) return;
    const auto place = std::next(live_.begin(), draw(0, static_cast<int64_t>(live_.size()) - 1));
    EXPECT_TRUE(scheduler_.cancel(place->first));
    live_.erase(place);
    ++tally_.num_cancelled;
    check_integrity();
  }

  // Plans, computes, commits, and takes the finished ones out.
  void step() {
    offer_drafts();
    if (lowers_budget_) scheduler_.set_step_tokens(draw(0, 2 * config_.max_num_batched_tokens));
    const std::set<SequenceId> waited = in_line();
    const int64_t preemptions_before = scheduler_.statistics().num_preemptions;
    const BatchPlan& plan = scheduler_.plan();
    check_integrity();
    check_plan(plan);
    check_turns(waited, scheduler_.statistics().num_preemptions > preemptions_before);
    if (::testing::Test::HasFatalFailure()) return;
    maybe_cancel();  // before the copies are made
    make_copies(plan.copies);
    compute(plan);
    maybe_cancel();
    scheduler_.commit(tokens_, counts_);
    check_integrity();
    collect(plan);
  }

  void make_copies(std::vector<PageCopy> copies) {
    if (draw(0, 1) == 0) std::reverse(copies.begin(), copies.end());  // any order will do
    for (const PageCopy& copy : copies) model_.copy(copy);
    tally_.num_copies += static_cast<int64_t>(copies.size());
  }

  // Drafts that hold, up to a random one.
  void offer_drafts() {
    for (const auto& [id, live] : live_) {
      if (draw(1, 100) > draft_chance_) continue;
      const Sequence& sequence = *scheduler_.find(id);
      std::vector<int32_t> drafts;
      const int64_t count = draw(0, 5);
      for (auto i = static_cast<size_t>(sequence.num_tokens()); i < live.tokens.size(); ++i) {
        if (static_cast<int64_t>(drafts.size()) < count) drafts.push_back(live.tokens[i]);
      }
      drafts.resize(static_cast<size_t>(count), 1);
      if (count > 0 && draw(0, 1) == 0)
        drafts[static_cast<size_t>(draw(0, count - 1))] = static_cast<int32_t>(draw(0, 2));
      if (draw(0, 1) == 0) {
        const int64_t reserved = scheduler_.reserve_drafts(id, count);
        ASSERT_GE(reserved, 0);
        ASSERT_LE(reserved, count);
        if (reserved > 0) {
          ASSERT_GE(sequence.pages.capacity(), sequence.num_tokens() + reserved);
        }
      }
      scheduler_.set_drafts(id, drafts);
    }
  }

  std::set<SequenceId> in_line() const {
    std::set<SequenceId> ids;
    for (const auto& [id, live] : live_) {
      const Sequence& sequence = *scheduler_.find(id);
      if (sequence.state == SequenceState::kWaiting && sequence.leader == 0) ids.insert(id);
    }
    return ids;
  }

  // Nobody was admitted out of turn: the starved by arrival, then the others by priority and arrival. A step
  // that preempts may admit before the preempted stand in line.
  void check_turns(const std::set<SequenceId>& waited, bool preempted) {
    const auto turn = [&](SequenceId id) {
      const bool starved = live_.at(id).num_waited > config_.max_wait_steps;
      return std::tuple(!starved, starved ? 0 : scheduler_.find(id)->priority, id);
    };
    std::optional<SequenceId> last_admitted, first_left;
    for (SequenceId id : waited) {
      ++live_.at(id).num_waited;
      tally_.num_starved += live_.at(id).num_waited == config_.max_wait_steps + 1 ? 1 : 0;
    }
    for (SequenceId id : waited) {
      const bool admitted = scheduler_.find(id)->state == SequenceState::kRunning;
      std::optional<SequenceId>& best = admitted ? last_admitted : first_left;
      if (!best || (admitted ? turn(*best) < turn(id) : turn(id) < turn(*best))) best = id;
    }
    if (last_admitted && first_left && !preempted) {
      ASSERT_LT(turn(*last_admitted), turn(*first_left)) << *last_admitted << " before " << *first_left;
    }
  }

  void check_plan(const BatchPlan& plan) {
    ASSERT_LT(num_steps_ += plan.segments.empty() ? 0 : 1, max_steps_) << "more steps than work";
    ASSERT_TRUE(!plan.segments.empty() || scheduler_.idle()) << "work, and nothing planned";
    std::set<SequenceId> ids;
    int64_t num_tokens = 0, num_logits = 0, num_prefills = 0, num_prefill_tokens = 0;
    bool in_decodes = true;
    for (const Segment& segment : plan.segments) {
      const Sequence* sequence = scheduler_.find(segment.sequence_id);
      ASSERT_NE(sequence, nullptr);
      check_home(*sequence);
      ASSERT_EQ(sequence->state, SequenceState::kRunning);
      ASSERT_TRUE(ids.insert(segment.sequence_id).second) << "two segments of " << segment.sequence_id;
      const auto num_drafts = static_cast<int64_t>(sequence->drafts.size());
      ASSERT_EQ(segment.begin, sequence->num_computed);
      ASSERT_LT(segment.begin, segment.end);
      ASSERT_LE(segment.end, sequence->num_tokens() + num_drafts);
      ASSERT_LT(segment.end, sequence->max_len);
      ASSERT_LE(segment.end, sequence->pages.capacity());
      ASSERT_TRUE(segment.end <= sequence->prompt_len || segment.begin >= sequence->prompt_len)
          << "[" << segment.begin << ", " << segment.end << ") crosses prompt_len " << sequence->prompt_len;
      const bool decode =
          segment.begin >= sequence->prompt_len && segment.begin + 1 == sequence->num_tokens();
      ASSERT_TRUE(decode || num_drafts == 0);
      ASSERT_EQ(segment.num_logits, segment.end >= sequence->num_tokens() ? 1 + num_drafts : 0);
      ASSERT_TRUE(in_decodes || !decode) << "a decode segment after a chunk";
      in_decodes = decode;
      num_prefills += decode ? 0 : 1;
      num_prefill_tokens += decode ? 0 : segment.end - segment.begin;
      num_tokens += segment.end - segment.begin;
      num_logits += segment.num_logits;
    }
    ASSERT_EQ(plan.num_tokens, num_tokens);
    ASSERT_EQ(plan.num_logits, num_logits);
    ASSERT_LE(num_tokens, config_.max_num_batched_tokens);
    ASSERT_LE(scheduler_.statistics().num_running, config_.max_num_seqs);
    const auto limit = [](int64_t value) { return value > 0 ? value : INT64_MAX; };
    ASSERT_LE(num_prefills, limit(config_.max_prefill_seqs));
    ASSERT_LE(num_prefill_tokens, limit(config_.max_prefill_tokens));
  }

  // A sequence stays where it is until it is preempted.
  void check_home(const Sequence& sequence) {
    ASSERT_GE(sequence.home, 0);
    ASSERT_LT(sequence.home, std::ssize(pools_));
    Live* live = live_.contains(sequence.id) ? &live_.at(sequence.id) : nullptr;
    if (live == nullptr) return;
    tally_.num_elsewhere += live->num_admissions == 0 && sequence.home > 0 ? 1 : 0;
    if (live->num_admissions == sequence.num_admissions) {
      ASSERT_EQ(live->home, sequence.home) << sequence.id;
    } else if (live->num_admissions > 0 && live->home != sequence.home) {
      ++tally_.num_moved;
    }
    live->num_admissions = sequence.num_admissions;
    live->home = sequence.home;
  }

  void check_integrity() {
    const Status status = scheduler_.check_integrity();
    ASSERT_TRUE(status.ok()) << status.message();
  }

  // A sequence that was cancelled in this step is computed like the others: its pages are nobody else's yet.
  void compute(const BatchPlan& plan) {
    tokens_.clear();
    counts_.clear();
    for (const Segment& segment : plan.segments) {
      const Sequence& sequence = *scheduler_.find(segment.sequence_id);
      const auto live = live_.find(segment.sequence_id);
      if (live == live_.end()) {
        if (segment.num_logits > 0) {
          tokens_.push_back(0);
          counts_.push_back(1);
        }
        continue;
      }
      std::vector<int32_t> known = sequence.tokens;
      known.insert(known.end(), sequence.drafts.begin(), sequence.drafts.end());
      const std::vector<int32_t> next =
          model_.compute(live->second.request, sequence, segment.begin,
                         std::span(known).subspan(static_cast<size_t>(segment.begin),
                                                  static_cast<size_t>(segment.end - segment.begin)));
      if (segment.num_logits > 0)
        accept(sequence, std::span(next).last(static_cast<size_t>(segment.num_logits)));
    }
  }

  // As an engine does: until a draft fails or a stop token comes.
  void accept(const Sequence& sequence, std::span<const int32_t> next) {
    int32_t count = 0;
    for (int32_t token : next) {
      tokens_.push_back(token);
      const auto i = static_cast<size_t>(count++);
      if (is_stop(token) || i == sequence.drafts.size()) break;
      const bool holds = sequence.drafts[i] == token;
      (holds ? tally_.num_drafts_held : tally_.num_drafts_failed) += 1;
      if (!holds) break;
    }
    counts_.push_back(count);
  }

  void collect(const BatchPlan& plan) {
    for (const Segment& segment : plan.segments) {
      const auto found = live_.find(segment.sequence_id);
      if (found == live_.end()) continue;
      const Sequence& sequence = *scheduler_.find(segment.sequence_id);
      if (segment.num_logits > 0 && is_stop(sequence.tokens.back())) {
        ASSERT_TRUE(scheduler_.finish(sequence.id, FinishReason::kStop));
      }
      const std::vector<int32_t>& expected = found->second.tokens;
      ASSERT_LE(sequence.tokens.size(), expected.size()) << "sequence " << sequence.id;
      ASSERT_TRUE(std::equal(sequence.tokens.begin(), sequence.tokens.end(), expected.begin()))
          << "sequence " << sequence.id << " of prompt_len " << sequence.prompt_len << " errs in its first "
          << sequence.num_tokens() << " tokens";
      if (sequence.state != SequenceState::kFinished) continue;
      ASSERT_EQ(sequence.tokens.size(), expected.size()) << "sequence " << sequence.id;
      ASSERT_EQ(sequence.finish_reason, found->second.reason) << "sequence " << sequence.id;
      live_.erase(found);
    }
    check_integrity();
  }

  void add_to(Tally& total) const {
    const SchedulerStatistics statistics = scheduler_.statistics();
    total.num_requests += tally_.num_requests;
    total.num_preemptions += statistics.num_preemptions;
    total.num_cached_tokens += statistics.num_cached_tokens;
    total.num_evictions += statistics.num_evictions;
    total.num_copies += tally_.num_copies;
    total.num_drafts_held += tally_.num_drafts_held;
    total.num_drafts_failed += tally_.num_drafts_failed;
    total.num_starved += tally_.num_starved;
    total.num_cancelled += tally_.num_cancelled;
    total.num_elsewhere += tally_.num_elsewhere;
    total.num_moved += tally_.num_moved;
  }

  uint64_t key_;
  uint64_t counter_ = 0;
  bool is_tight_;  // answers that are long against the pool
  Pools pools_;
  SchedulerConfig config_;
  Scheduler scheduler_;
  FakeModel model_;
  int64_t cancel_chance_ = 0;  // in a hundred
  int64_t draft_chance_ = 0;   // in a hundred, of each sequence and step
  bool lowers_budget_ = false;
  std::map<SequenceId, Live> live_;
  std::vector<std::vector<int32_t>> texts_;  // conversations so far
  std::vector<int32_t> tokens_, counts_;     // of the step
  int64_t num_steps_ = 0;
  int64_t max_steps_ = 1;  // that all submitted work can take, each sequence alone
  Tally tally_;
};

constexpr uint64_t kNumSeeds = testing::kSanitized ? 500 : 10000;

TEST(SchedulerSimulation, EveryOutputIsThatOfTheRequestAlone) {
  const auto only = static_cast<uint64_t>(GTEST_FLAG_GET(random_seed));
  Tally tally;
  for (uint64_t seed = only > 0 ? only : 1; seed <= (only > 0 ? only : kNumSeeds); ++seed) {
    Simulation simulation(seed);
    simulation.run(tally);
    ASSERT_FALSE(HasFailure()) << "--gtest_random_seed=" << seed;
  }
  const std::pair<const char*, int64_t> reached[] = {{"requests", tally.num_requests},
                                                     {"preemptions", tally.num_preemptions},
                                                     {"cached tokens", tally.num_cached_tokens},
                                                     {"evictions", tally.num_evictions},
                                                     {"copies", tally.num_copies},
                                                     {"drafts held", tally.num_drafts_held},
                                                     {"drafts failed", tally.num_drafts_failed},
                                                     {"starved", tally.num_starved},
                                                     {"cancelled", tally.num_cancelled},
                                                     {"elsewhere", tally.num_elsewhere}};
  for (const auto& [name, count] : reached) {
    RecordProperty(name, std::to_string(count));
    // The simulation must reach what it is meant to test.
    if (only == 0) {
      EXPECT_GT(count, static_cast<int64_t>(kNumSeeds) / 2) << name;
    }
  }
  if (only == 0) {
    EXPECT_GT(tally.num_moved, static_cast<int64_t>(kNumSeeds) / 10);
  }
}

}  // namespace
}  // namespace fathom
