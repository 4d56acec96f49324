#include "server/submission.h"

#include "base/random.h"

namespace fathom {
namespace {

// Choice 0 has the request's own seed, so that n = 1 and the first of n agree.
uint64_t seed_of_choice(uint64_t seed, int32_t choice) {
  return choice == 0 ? seed : random_bits(seed, static_cast<uint64_t>(choice));
}

}  // namespace

std::vector<PlannedSequence> plan_sequences(const GenerationRequest& request) {
  std::vector<PlannedSequence> planned;
  for (const std::vector<int32_t>& prompt : request.prompts) {
    for (int32_t choice = 0; choice < request.n; ++choice) {
      PlannedSequence sequence{.request = {.prompt_ids = prompt, .sampling = request.sampling},
                               .prompt_logprobs = {},
                               .generates = request.generates};
      sequence.request.sampling.seed = seed_of_choice(request.sampling.seed.value_or(0), choice);
      if (choice == 0) sequence.prompt_logprobs = request.prompt_logprobs;
      planned.push_back(std::move(sequence));
    }
  }
  return planned;
}

GenerationEvent to_generation_event(const RequestEvent& event) {
  GenerationEvent out;
  out.kind = event.token_id ? GenerationEventKind::kToken : GenerationEventKind::kEnd;
  if (event.token_id) {
    out.token = {.id = *event.token_id, .logprob = event.logprob, .top_logprobs = event.top_logprobs};
  }
  out.text = std::string(event.text);
  out.finish_reason = event.finish_reason;
  out.status = event.status;
  return out;
}

}  // namespace fathom
