// A sequence: what the scheduler knows of one request. There are no phases: a sequence has known tokens
// and computed tokens, and a step computes some of the difference.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "cache/page_table.h"
#include "cache/prefix_keys.h"

namespace fathom {

// Prompts of at least this many tokens are computed in the expanded form of attention, unless configured.
// Expanding a key costs as much as absorbing saves over 171 queries, whatever the model (docs/performance.md
// has what was measured).
inline constexpr int64_t kExpandedPromptTokens = 171;

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
  // One generated token to compute.
  bool is_decode() const { return num_computed >= prompt_len && num_computed + 1 == num_tokens(); }
  TokenRun run() const { return {.tokens = tokens, .num_expanded = num_expanded}; }

  SequenceId id = 0;
  int32_t priority = 0;         // smaller is sooner
  std::vector<int32_t> tokens;  // prompt, then generated
  int64_t prompt_len = 0;
  // Of the first tokens, in the expanded form of attention: the prompt's, or none. The others are absorbed.
  int64_t num_expanded = 0;
  int64_t num_computed = 0;  // the latents of positions [0, num_computed) are in the cache
  int64_t max_len = 0;       // finished with kLength when num_tokens() reaches it
  int64_t num_cached = 0;    // tokens of the prompt that were in the cache at the first admission
  // Of the first tokens, that may be taken over before the prompt is computed.
  int64_t max_cached = std::numeric_limits<int64_t>::max();
  // Guesses at the tokens to come, which a plan has a segment compute behind the known ones.
  std::vector<int32_t> drafts;
  int64_t home = 0;  // the pool that its pages are of, from its admission on
  PageTable pages;
  SequenceState state = SequenceState::kWaiting;
  FinishReason finish_reason = FinishReason::kNone;

  // The scheduler's own.
  int64_t num_admissions = 0;
  int64_t num_preemptions = 0;
  std::vector<PrefixKey> keys;  // PrefixKeys::extend
  int64_t num_indexed = 0;      // of the first pages, full and in the index where they are worth it
  SequenceId leader = 0;        // whose prompt, once computed, is this one's too; 0: nobody's
  int64_t patience = 0;         // steps that it may still stand in line before it starves
  int64_t starves_at = 0;       // the step after which it starves, while in line
  bool is_starved = false;
};

}  // namespace fathom
