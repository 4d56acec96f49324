#include "engine/prompt_score.h"

#include "engine/request_stream.h"

namespace fathom {
namespace {

Result<NextToken> draw_next(const Engine& engine, std::span<const int32_t> ids, std::span<const float> logits,
                            const SamplingParams& params, SamplerWorkspace& workspace) {
  NextToken next;
  FATHOM_ASSIGN_OR_RETURN(next.token, sample({.logits = logits,
                                              .prompt_tokens = ids,
                                              .generated_tokens = {},
                                              .random_key = sampler_key(params.seed.value_or(0))},
                                             params, workspace));
  std::vector<int32_t> end_ids;
  for (int64_t id : engine.generation_config().eos_token_ids) end_ids.push_back(static_cast<int32_t>(id));
  RequestStream stream(engine.tokenizer(), params, end_ids);
  RequestStream::Piece piece = stream.push(next.token.id);
  if (piece.verdict == StopVerdict::kStop) {
    next.finish_reason = FinishReason::kStop;
  } else {
    piece.text += stream.flush();
  }
  next.text = std::move(piece.text);
  return next;
}

}  // namespace

Result<PromptScore> score_prompt(Engine& engine, std::span<const int32_t> ids,
                                 const PromptScoreOptions& options) {
  const auto width = static_cast<size_t>(engine.config().vocab_size);
  PromptScore score;
  score.tokens.reserve(ids.size());
  if (!ids.empty()) score.tokens.push_back({.id = ids[0], .logprob = {}, .top_logprobs = {}});
  SamplerWorkspace workspace;
  FATHOM_RETURN_IF_ERROR(engine.score(ids, [&](int64_t, std::span<const float> logits) -> Status {
    for (size_t begin = 0; begin < logits.size(); begin += width) {
      const std::span<const float> row = logits.subspan(begin, width);
      if (score.tokens.size() < ids.size()) {
        FATHOM_ASSIGN_OR_RETURN(SampledToken token,
                                token_logprobs(row, ids[score.tokens.size()], options.num_top, workspace));
        score.tokens.push_back(std::move(token));
      } else if (options.next != nullptr) {
        FATHOM_ASSIGN_OR_RETURN(score.next, draw_next(engine, ids, row, *options.next, workspace));
      }
    }
    return options.between_chunks ? options.between_chunks() : ok_status();
  }));
  return score;
}

}  // namespace fathom
