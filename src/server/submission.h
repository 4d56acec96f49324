// How a GenerationRequest becomes requests of the engine, and what they bring becomes GenerationEvents.
#pragma once

#include <vector>

#include "engine/engine.h"
#include "server/generation.h"

namespace fathom {

// One prompt; its choice c has the index first_index + c.
struct PlannedPrompt {
  Request request;
  int32_t first_index = 0;
  bool scores_prompt = false;
  bool generates = true;  // false: the one token of each choice is not shown
};

// In order of index.
std::vector<PlannedPrompt> plan_prompts(const GenerationRequest& request);

// The event of the engine's listener for one choice in the server's language.
GenerationEvent to_generation_event(const PlannedPrompt& prompt, const RequestEvent& event);
// Its prompt's tokens with what the first token of choice 0 brought of their scores. The first has none.
GenerationEvent to_scores_event(const PlannedPrompt& prompt, const RequestEvent& event);

}  // namespace fathom
