// How likely each token of a given text is, as evaluation harnesses ask ("echo" with log-probabilities), and
// the token that would come next, from one pass over the text.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "sample/sampler.h"

namespace fathom {

struct PromptScoreOptions {
  int32_t num_top = 0;  // likeliest alternatives per token, at most kMaxLogprobs
  // Where set, also draws one token after the text. max_tokens and min_tokens are not looked at.
  const SamplingParams* next = nullptr;
  // Called between chunks of the text; an error ends the pass with it. May be empty.
  std::function<Status()> between_chunks;
};

struct NextToken {
  SampledToken token;
  std::string text;
  FinishReason finish_reason = FinishReason::kLength;  // or kStop
};

struct PromptScore {
  // [size of ids]: tokens[i] is ids[i] and its log-probability after ids[0, i); tokens[0] has none.
  std::vector<SampledToken> tokens;
  std::optional<NextToken> next;
};

// Thread and timing as Engine::score. Fails as it does, and where logits are not finite.
Result<PromptScore> score_prompt(Engine& engine, std::span<const int32_t> ids,
                                 const PromptScoreOptions& options);

}  // namespace fathom
