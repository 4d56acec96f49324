#include "server/submission.h"

namespace fathom {
namespace {

// The engine gives every choice one token at least.
SamplingParams one_unseen_token() {
  SamplingParams sampling;
  sampling.temperature = 0;
  sampling.max_tokens = 1;
  return sampling;
}

}  // namespace

std::vector<PlannedPrompt> plan_prompts(const GenerationRequest& request) {
  std::vector<PlannedPrompt> planned;
  for (const std::vector<int32_t>& ids : request.prompts) {
    PlannedPrompt& prompt = planned.emplace_back();
    prompt.first_index = static_cast<int32_t>(planned.size() - 1) * request.n;
    prompt.scores_prompt = request.prompt_logprobs.has_value();
    prompt.generates = request.generates;
    prompt.request = {.prompt_ids = ids,
                      .sampling = request.generates ? request.sampling : one_unseen_token(),
                      .n = request.n,
                      .priority = request.priority,
                      .cache_salt = request.cache_salt,
                      .constraint = request.constraint};
    if (request.prompt_logprobs && ids.size() > 1)
      prompt.request.scoring = {.first = 1, .num_top = *request.prompt_logprobs};
  }
  return planned;
}

GenerationEvent to_generation_event(const PlannedPrompt& prompt, const RequestEvent& event) {
  GenerationEvent out;
  out.index = prompt.first_index + event.choice;
  out.finish_reason = event.finish_reason;
  out.status = event.status;
  out.kind = event.token_id && prompt.generates ? GenerationEventKind::kToken : GenerationEventKind::kEnd;
  if (out.kind == GenerationEventKind::kToken) {
    out.token = {.id = *event.token_id, .logprob = event.logprob, .top_logprobs = event.top_logprobs};
    out.text = std::string(event.text);
    out.cached_tokens = event.num_cached_tokens;
  } else if (event.token_id) {
    out.finish_reason = FinishReason::kLength;
  }
  return out;
}

GenerationEvent to_scores_event(const PlannedPrompt& prompt, const RequestEvent& event) {
  GenerationEvent out;
  out.index = prompt.first_index;
  out.kind = GenerationEventKind::kPromptScores;
  for (int32_t id : prompt.request.prompt_ids)
    out.prompt_scores.push_back({.id = id, .logprob = {}, .top_logprobs = {}});
  if (event.prompt_scores == nullptr) return out;
  const PromptScores& scores = *event.prompt_scores;
  for (size_t i = 0; i < scores.logprobs.size(); ++i) {
    out.prompt_scores[i + 1].logprob = scores.logprobs[i];
    if (!scores.top_logprobs.empty()) out.prompt_scores[i + 1].top_logprobs = scores.top_logprobs[i];
  }
  return out;
}

}  // namespace fathom
