// Continuous batching: which tokens of which sequences the next step computes. Integers only: it knows no
// tensor, no text and no clock. One thread owns the scheduler and its page pools.
//
// There may be several pools, of caches that share nothing. A running sequence has its pages in one of them,
// its home, which it gets at its admission; what is said of pages holds in each home by itself.
//
// The rules, in the order in which plan() applies them:
// - Pages. A running sequence holds pages for all its known tokens, a prompt's from its admission on. When a
//   generated token needs a page and none is free, a sequence is preempted: of those of its home with the
//   largest priority value the one submitted last, which may be the one in need. Its pages are released and
//   it waits to be computed again; its generated tokens stay, none is sampled twice. What it had computed
//   stays to be found as a prefix, so that it is mostly not computed again.
// - Preemptions are bounded. A sequence that has been preempted max_preemptions times is settled: it is
//   admitted with pages up to its max_len at once and never preempted any more. So it needs no page later,
//   and whoever does need one may itself be preempted: the pages always suffice.
// - Admission, in the order of schedule/waiting_line.h and never out of it. The next in line starts running
//   when its pages, less those it finds in the cache, are free, and one more for each running sequence that
//   is not yet at its last page. That room to grow keeps it from being preempted again at once. Where nobody
//   runs, it starts without that room. It also needs a token in the step: see Budget.
// - Homes. The next in line gets the one that costs least of those with the pages: by its tokens that are not
//   found there, by those that others run there, by those that are forgotten for it (admission.cc). So what
//   shares a prefix stays together as far as that is worth the load.
// - Prefixes. What the cache holds of a sequence's beginning (cache/prefix_index.h) counts as computed. Full
//   pages are shared; the first rows of one more page are copied. One known token at least is left to
//   compute, for its logits. A page is written by one sequence only, and shared when it is full.
// - Budget. A step computes at most max_num_batched_tokens. First every sequence with one generated token to
//   compute gets it. Then every other running sequence gets min_chunk_tokens (or what it needs, if less), in
//   order of admission; then drafts; then what is left goes to the first by priority and admission that still
//   needs some. So long prompts advance side by side, and none stands still behind later ones.
// - Segments. A sequence has at most one segment in a step. A segment never crosses the end of a prompt,
//   because prompt tokens and generated tokens are computed by different forms of attention; which form a
//   token gets must not depend on preemption. Generated tokens that are computed again may share a segment.
// - Drafts. Behind its one generated token a sequence has its drafts computed, as far as budget, free pages
//   and its max_len allow; nobody is preempted for them, and their pages go back when they fail.
//
// Every sequence ends. While any is unfinished, each plan computes at least one token: the first running
// sequence gets one, and where nobody runs the next in line is admitted, since it fits into the pool. Work is
// lost by preemption only, and there are at most max_preemptions of them a sequence.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/keyed_hash.h"
#include "base/status.h"
#include "cache/page_pool.h"
#include "cache/prefix_index.h"
#include "schedule/batch_plan.h"
#include "schedule/sequence.h"
#include "schedule/waiting_line.h"

namespace fathom {

struct SchedulerConfig {
  int64_t max_num_seqs = 256;             // running at once
  int64_t max_num_waiting = 512;          // not running; more are refused at submission
  int64_t max_num_batched_tokens = 2048;  // in a step; at least max_num_seqs
  int64_t min_chunk_tokens = 256;         // of a prompt in a step, see Budget above
  int64_t max_prefill_tokens = 0;  // in a step, of sequences with more than one token to go; 0: no limit
  int64_t max_prefill_seqs = 0;    // such sequences running at once; 0: no limit
  int64_t max_model_len = 4096;    // prompt and generated tokens of a sequence
  int64_t max_preemptions = 3;     // of a sequence
  int64_t max_wait_steps = 1000;   // in line, before a sequence goes first whatever its priority
  int64_t min_copy_tokens = 16;    // shorter beginnings of a page are computed again
  int64_t expanded_prompt_tokens = kExpandedPromptTokens;

  // Names the field, the limit and the value.
  Status validate() const;
};

struct SubmitOptions {
  std::vector<int32_t> prompt;
  int64_t max_tokens = 1;
  int32_t priority = 0;       // smaller is sooner
  std::string salt = {};      // prefixes are shared only where it is the same
  int64_t num_sequences = 1;  // that continue the prompt, each on its own
  // Of the first tokens, that may be taken over from the cache by the first sequence before it has computed
  // the prompt: the others are wanted for their logits.
  int64_t max_cached_tokens = std::numeric_limits<int64_t>::max();
};

struct SchedulerStatistics {
  int64_t num_waiting = 0;
  int64_t num_running = 0;
  int64_t num_preemptions = 0;    // since the start, as all below but pages
  int64_t num_prompt_tokens = 0;  // of sequences at their first admission
  int64_t num_cached_tokens = 0;  // of these, found in the cache
  int64_t num_evictions = 0;      // pages that lost their content to another use
  int64_t num_pages_used = 0;
  int64_t num_pages = 0;
};

class Scheduler {
 public:
  // Precondition: config.validate().ok(); one pool at least, all of one size. The pools must outlive the
  // scheduler. The hash keeps users from making their tokens pass for another's.
  Scheduler(const SchedulerConfig& config, std::span<PagePool* const> pools, KeyedHash hash);
  Scheduler(const SchedulerConfig& config, PagePool& pool, KeyedHash hash);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Puts num_sequences sequences in line and returns their ids, which are consecutive. Each ends with kLength
  // after max_tokens generated tokens, at max_model_len tokens, or when a pool, all its own, has no place for
  // one more. The first computes the prompt; the others wait until then, outside the line, and find it in
  // the cache. Refused: an empty prompt; max_tokens < 1; num_sequences < 1; a prompt of max_model_len or more
  // tokens or of more pages than a pool has (kInvalidArgument); more sequences waiting than max_num_waiting
  // (kResourceExhausted). Token ids are not looked at.
  Result<std::vector<SequenceId>> submit(SubmitOptions options);

  // Ends a sequence in any state, also between plan() and commit(): its pages are free at once, and the next
  // plan() is the first to use them again. True if the id is known. A sequence that commit() has just ended
  // with kLength takes the new reason, so that a stop found in its last token counts.
  bool finish(SequenceId id, FinishReason reason);
  bool cancel(SequenceId id) { return finish(id, FinishReason::kCancelled); }

  // Takes pages for num_drafts drafts of a running sequence with one generated token to compute, for whoever
  // computes something there before the plan; returns how many have room. One page for each sequence that
  // runs there stays free, so that none is preempted for them. What is not drafted goes back with the commit.
  // Precondition: the last plan is committed.
  int64_t reserve_drafts(SequenceId id, int64_t num_drafts);
  // For the next plan only, if the running sequence then has one generated token to compute; ignored
  // otherwise. Precondition: the last plan is committed. What of them is computed, plan() leaves in
  // Sequence::drafts.
  void set_drafts(SequenceId id, std::span<const int32_t> drafts);
  // From now on prompts get at most what num_tokens leave in a step after generated tokens, but one token at
  // least; never more than the config's limits. Changes no result.
  void set_step_tokens(int64_t num_tokens);

  // The next step; without segments where there is nothing to do. Forgets the sequences finished before. The
  // plan is the scheduler's own and valid until the next call; each plan is committed before the next one,
  // an empty one too.
  const BatchPlan& plan();

  // The step has been computed. `counts` says for each segment with logits, in plan order, how many tokens
  // follow its known ones: 1 to num_logits. `tokens` holds them one after the other; all but a segment's last
  // are its drafts. Those of sequences finished in the meantime are ignored. Appends them and ends sequences
  // at their max_len.
  void commit(std::span<const int32_t> tokens, std::span<const int32_t> counts);

  // A sequence from its submission until the first plan() after its end; null if unknown. Valid as long.
  const Sequence* find(SequenceId id) const;

  // In order of admission; valid until the next call that is not const.
  std::span<const Sequence* const> running() const { return running_; }
  // No sequence waits or runs.
  bool idle() const { return finished_.size() == sequences_.size(); }
  SchedulerStatistics statistics() const;

  // Recounts pages, copies and index and checks every invariant of states, order and lengths: linear in pages
  // and sequences. kInvalidData says what is wrong.
  Status check_integrity() const;

 private:
  // What plan() grants a running sequence in this step; in order of running_.
  struct Grant {
    Sequence* sequence = nullptr;
    bool is_decode = false;
    int64_t num_left = 0;  // tokens up to its next boundary that are not granted yet
    int64_t num_tokens = 0;
  };
  struct Home {
    PagePool& pool;
    PrefixIndex index;
  };
  // What admissions are decided by.
  struct HomeDemand {
    int64_t num_running = 0;
    int64_t num_tokens = 0;   // of those who run
    int64_t num_growing = 0;  // of them, that will need another page
  };
  struct Demand {
    int64_t num_decodes = 0;
    int64_t num_prefills = 0;
    int64_t prefill_tokens = 0;  // that prefills are promised in this step
    std::vector<HomeDemand> homes;
  };
  // A home that a sequence may get.
  struct Place {
    int64_t home = 0;
    PrefixMatch match;
    int64_t cost = 0;
  };

  Sequence* find_mutable(SequenceId id);
  void forget_finished();
  Home& home_of(const Sequence& sequence) const { return *homes_[static_cast<size_t>(sequence.home)]; }
  const PagePool& any_pool() const { return homes_.front()->pool; }  // where only its size matters
  bool is_settled(const Sequence& sequence) const;
  int64_t tokens_to_boundary(const Sequence& sequence) const;

  // admission.cc: pages and who runs.
  void extend_running();
  size_t victim(int64_t home) const;
  void preempt(size_t running_index);
  void admit();
  bool has_tokens_left(const Demand& demand) const;
  bool settle_in(Sequence& sequence, const Demand& demand);
  int64_t home_cost(const Sequence& sequence, const Place& place, const HomeDemand& demand) const;
  bool fits(const Place& place, int64_t num_pages, int64_t num_growing) const;
  bool take_pages(Sequence& sequence, Place& place, const HomeDemand& demand);
  void add_demand(const Sequence& sequence, Demand& demand) const;
  int64_t num_pages_at_admission(const Sequence& sequence) const;
  bool will_grow(const Sequence& sequence, int64_t num_pages) const;

  // budget.cc: who computes how much.
  int64_t prompt_budget(int64_t num_decodes) const;
  void share_budget();
  int64_t grant_drafts(int64_t budget);
  void emit_segments();

  // commit.cc: what has been computed, and ends.
  void check_answer(std::span<const int32_t> tokens, std::span<const int32_t> counts) const;
  void accept(const Segment& segment, std::span<const int32_t> tokens);
  void index_computed(Sequence& sequence);
  void index_last_page(const Sequence& sequence);
  void release_copies();
  void leave(Sequence& sequence);
  void let_followers_go(SequenceId leader);
  void replace_leader(SequenceId leader);

  // integrity.cc
  Status check_states() const;
  Status check_sequence(const Sequence& sequence) const;
  Status check_pages(int64_t home) const;

  SchedulerConfig config_;
  PrefixKeys keys_;
  std::vector<std::unique_ptr<Home>> homes_;
  SequenceId next_id_ = 1;
  int64_t step_ = 0;
  int64_t step_tokens_;
  // All from submission to forgetting; each unfinished one is in exactly one of the three below.
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  WaitingLine line_;
  std::vector<Sequence*> followers_;  // wait for a leader, in order of submission
  std::vector<Sequence*> running_;    // in order of admission
  std::vector<SequenceId> finished_;  // since the last plan
  std::vector<Grant> grants_;
  BatchPlan plan_;
  enum class PlanState { kCommitted, kPending } plan_state_ = PlanState::kCommitted;
  SchedulerStatistics counts_;  // those since the start
};

}  // namespace fathom
