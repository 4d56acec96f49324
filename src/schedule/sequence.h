// A sequence: what the scheduler knows of one request. There are no phases: a sequence has known tokens
// and computed tokens, and a step computes some of the difference.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/page_table.h"

namespace fathom {

// Counts up in the order of submission; never used twice.
using SequenceId = uint64_t;

enum class SequenceState {
  kWaiting,   // holds no page; new, or preempted
  kRunning,   // holds pages for the tokens it knew at the last plan
  kFinished,  // holds no page; readable until the next plan
};

enum class FinishReason {
  kNone,       // not finished
  kStop,       // a stop token or stop string
  kLength,     // max_tokens or the end of the context
  kCancelled,  // the client left
  kError,      // the engine could not go on with it
};

struct Sequence {
  explicit Sequence(PagePool& pool) : pages(pool) {}

  int64_t num_tokens() const { return static_cast<int64_t>(tokens.size()); }

  SequenceId id = 0;
  std::vector<int32_t> tokens;  // prompt, then generated
  int64_t prompt_len = 0;
  int64_t num_computed = 0;  // the latents of positions [0, num_computed) are in the cache
  int64_t max_len = 0;       // finished with kLength when num_tokens() reaches it
  PageTable pages;
  SequenceState state = SequenceState::kWaiting;
  FinishReason finish_reason = FinishReason::kNone;
};

}  // namespace fathom
