// What the HTTP adapters ask of the engine and what comes back, in plain data: the language between the I/O
// thread and the engine thread. Adapters of every protocol speak it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "constrain/constraint.h"
#include "engine/engine.h"
#include "sample/sampler.h"
#include "sample/sampling_params.h"

namespace fathom {

// One client's request: every prompt, n times. The answer to prompt p, choice c, has the index p * n + c.
struct GenerationRequest {
  std::vector<std::vector<int32_t>> prompts;
  SamplingParams sampling;  // with seed and max_tokens
  int32_t n = 1;
  // Also the log-probability of each prompt token, with so many alternatives.
  std::optional<int32_t> prompt_logprobs;
  bool generates = true;  // false: only the prompts' log-probabilities are wanted
  // As of Request.
  int32_t priority = 0;
  std::string cache_salt = {};
  std::shared_ptr<const CompiledConstraint> constraint = {};
  std::optional<double> timeout = {};  // seconds for all of it, where that is less than the server's limit

  int64_t num_sequences() const { return static_cast<int64_t>(prompts.size()) * n; }
};

enum class GenerationEventKind : uint8_t {
  kAccepted,      // of the whole request: the engine has it; comes first
  kStarted,       // a sequence left the queue
  kPromptScores,  // prompt_scores of the sequence's prompt
  kToken,         // a token, and perhaps the end
  kEnd,           // the end without a token
};

// Of one sequence; plain data that may cross threads. Every sequence ends exactly once, with a finish_reason.
struct GenerationEvent {
  uint64_t ticket = 0;
  int32_t index = 0;
  GenerationEventKind kind = GenerationEventKind::kToken;
  double time = 0;  // monotonic seconds
  SampledToken token = {};
  std::string text = {};  // may be shown now
  std::vector<SampledToken> prompt_scores = {};
  std::vector<int64_t> prompt_ranks = {};  // [prompt_scores]; 1: no token was likelier; 0: not known
  int64_t cached_tokens = 0;               // with a choice's first token: of the prompt, found in the cache
  FinishReason finish_reason = FinishReason::kNone;
  Status status = {};  // not ok: finish_reason is kError
  bool timed_out = false;
  bool rank_lost = false;  // status is why the engine failed, which is a lost rank

  bool ends() const { return finish_reason != FinishReason::kNone; }
};

}  // namespace fathom
