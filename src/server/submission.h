// How a GenerationRequest becomes requests of the engine. The one place that changes when the engine learns
// to do more of it by itself (several answers to one prompt, priorities, cache salts, constraints).
#pragma once

#include <vector>

#include "engine/engine.h"
#include "server/generation.h"

namespace fathom {

struct PlannedSequence {
  Request request;
  // Score the prompt before: set for the first choice of each prompt.
  std::optional<int32_t> prompt_logprobs;
  bool generates = true;
};

// One per index, in order.
std::vector<PlannedSequence> plan_sequences(const GenerationRequest& request);

// The event of a request's listener in the server's language.
GenerationEvent to_generation_event(const RequestEvent& event);

}  // namespace fathom
