// Continuous batching: which tokens of which sequences the next step computes. Integers only: it knows no
// tensor, no text and no clock. One thread owns the scheduler and its page pool.
//
// The rules, in the order in which plan() applies them:
// - Order. Sequences stand in one line in the order of submission. The running ones are always a prefix of
//   that line, so nobody is overtaken at admission and nobody starves.
// - Pages. A running sequence holds pages for all its known tokens, a prompt's from its admission on. When a
//   generated token needs a page and none is free, the newest running sequence is preempted: its pages are
//   released, it waits at the head of the line and is computed again from its first position; its generated
//   tokens stay, none is sampled twice. The oldest is never preempted, so that progress is certain.
// - Admission. The next in line starts running when, after its known tokens, one free page per running
//   sequence is left. That room to grow keeps it from being preempted again at once. Where nobody runs, it
//   starts without that room. It also needs a token in the step: see Budget.
// - Budget. A step computes at most max_num_batched_tokens. First every sequence with one generated token to
//   compute gets it. Then every other running sequence gets min_chunk_tokens (or what it needs, if less),
//   oldest first; then what is left goes to the oldest that still needs some. So long prompts advance side by
//   side, each at a rate of at least min_chunk_tokens a step once admitted, and the oldest fastest.
// - Segments. A sequence has at most one segment in a step. A segment never crosses the end of a prompt,
//   because prompt tokens and generated tokens are computed by different forms of attention; which form a
//   token gets must not depend on preemption. Generated tokens that are computed again may share a segment.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "cache/page_pool.h"
#include "schedule/sequence.h"

namespace fathom {

struct SchedulerConfig {
  int64_t max_num_seqs = 256;             // running at once
  int64_t max_num_waiting = 512;          // in line, not running; more are refused at submission
  int64_t max_num_batched_tokens = 2048;  // in a step; at least max_num_seqs
  int64_t min_chunk_tokens = 256;         // of a prompt in a step, see Budget above
  int64_t max_model_len = 4096;           // prompt and generated tokens of a sequence

  // Names the field, the limit and the value.
  Status validate() const;
};

// Positions [begin, end) of one sequence, end > begin.
struct Segment {
  SequenceId sequence_id = 0;
  int64_t begin = 0;
  int64_t end = 0;
  // The last row's logits give the sequence's next token. True exactly where end is the number of known
  // tokens.
  bool wants_logits = false;
};

// One step. Segments of one generated token come first, then the others; each group in order of submission.
struct BatchPlan {
  std::vector<Segment> segments;
  int64_t num_tokens = 0;  // of all segments
  int64_t num_logits = 0;  // segments with wants_logits
};

struct SchedulerStatistics {
  int64_t num_waiting = 0;
  int64_t num_running = 0;
  int64_t num_preemptions = 0;  // since the start
  int64_t num_pages_used = 0;
  int64_t num_pages = 0;
};

class Scheduler {
 public:
  // Precondition: config.validate().ok(). The pool must outlive the scheduler.
  Scheduler(const SchedulerConfig& config, PagePool& pool);

  // Puts a sequence in line. It ends with kLength after max_tokens generated tokens, at max_model_len tokens,
  // or when the pool, all its own, has no place for one more. Refused: an empty prompt; max_tokens < 1; a
  // prompt of max_model_len or more tokens or of more pages than the pool has (kInvalidArgument); a full line
  // (kResourceExhausted). Token ids are not looked at.
  Result<SequenceId> submit(std::vector<int32_t> prompt, int64_t max_tokens);

  // Ends a sequence in any state, also between plan() and commit(): its pages are free at once, and the next
  // plan() is the first to use them again. True if the id is known. A sequence that commit() has just ended
  // with kLength takes the new reason, so that a stop found in its last token counts.
  bool finish(SequenceId id, FinishReason reason);
  bool cancel(SequenceId id) { return finish(id, FinishReason::kCancelled); }

  // The next step; without segments where there is nothing to do. Forgets the sequences finished before. The
  // plan is the scheduler's own and valid until the next call; each plan is committed before the next one,
  // an empty one too.
  const BatchPlan& plan();

  // The step has been computed. `sampled` holds one token per segment with wants_logits, in plan order; those
  // of sequences finished in the meantime are ignored. Appends them and ends sequences at their max_len.
  void commit(std::span<const int32_t> sampled);

  // A sequence from its submission until the first plan() after its end; null if unknown. Valid as long.
  const Sequence* find(SequenceId id) const;

  // No sequence waits or runs.
  bool idle() const;
  SchedulerStatistics statistics() const;

  // For tests: recounts the pages and checks every invariant of states, order and lengths.
  Status check_integrity() const;

 private:
  // What plan() grants a running sequence in this step.
  struct Grant {
    int64_t need = 0;  // tokens up to its next boundary: the end of the prompt, or of the known tokens
    int64_t num_tokens = 0;
  };

  Sequence* find_mutable(SequenceId id);
  void forget_finished();
  void extend_running();
  void preempt_newest();
  void admit();
  void share_budget();
  void emit_segments();
  bool is_decode(const Sequence& sequence) const;
  int64_t tokens_to_boundary(const Sequence& sequence) const;

  SchedulerConfig config_;
  PagePool* pool_;
  SequenceId next_id_ = 1;
  // In order of submission, hence of id; [0, num_running_) run (or have finished since the last plan).
  std::vector<std::unique_ptr<Sequence>> line_;
  size_t num_running_ = 0;
  std::vector<Grant> grants_;  // [num_running_], of the last plan
  BatchPlan plan_;
  enum class PlanState { kCommitted, kPending } plan_state_ = PlanState::kCommitted;
  int64_t num_preemptions_ = 0;
};

}  // namespace fathom
