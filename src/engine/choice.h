// One choice of a request under way: how rows of logits become its tokens, and what may be shown of them.
// Knows nothing of the batch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "constrain/constraint.h"
#include "engine/engine.h"
#include "engine/prompt_scorer.h"
#include "engine/request_stream.h"
#include "engine/row_reader.h"
#include "sample/sampler.h"

namespace fathom {

// What all choices of a request share.
struct ActiveRequest {
  RequestId id = 0;
  SamplingParams sampling;
  SamplingParams guessing;                               // the same, without log-probabilities
  std::shared_ptr<const CompiledConstraint> constraint;  // or null
  std::vector<int32_t> end_ids;                          // the model's or the constraint's
  std::vector<int32_t> early_ids;                        // not drawn before sampling.min_tokens
  std::vector<int32_t> avoided_ids;                      // not drawn while the constraint has others
  std::optional<PromptScorer> scorer;                    // until the first token of choice 0
  RequestListener listener;

  // request: already checked; id: of its first sequence. model_end_ids: the model's own.
  ActiveRequest(Request&& request, RequestId id, std::span<const int32_t> model_end_ids,
                RequestListener listener);
};

// Reused from token to token.
struct ChoiceWorkspace {
  SamplerWorkspace sampler;
  std::vector<uint32_t> allowed;
};

class Choice {
 public:
  // tokenizer may be null.
  Choice(std::shared_ptr<ActiveRequest> request, int32_t index, const Tokenizer* tokenizer);

  struct Step {
    SampledToken token;
    std::string text;  // may be shown now
    bool stops = false;
    bool is_first = false;
  };
  // How the token at this position will be drawn by next(), or guessed.
  RowDraw draw_at(size_t num_prompt, size_t num_generated) const;
  RowDraw guess_at(size_t num_prompt, size_t num_generated) const;
  // The token after prompt and generated, from the row of logits behind them, read for draw_at() this place;
  // the answer goes on with it. Fails where the sampler does, or the constraint becomes too complex.
  Result<Step> next(const DrawnRow& row, std::span<const int32_t> prompt, std::span<const int32_t> generated,
                    ChoiceWorkspace& workspace);

  // Guessing ahead: the token that next() would draw if the logits behind `generated` were these, which a
  // draft model gave (read for guess_at()); `generated` are the answer's tokens and the guesses so far.
  // `ahead`, from ahead(), is the constraint's place behind them and goes on. Nothing where the answer would
  // end, or no token fits.
  std::optional<ConstraintMatcher> ahead() const { return matcher_; }
  std::optional<int32_t> guess(const DrawnRow& row, std::span<const int32_t> prompt,
                               std::span<const int32_t> generated, std::optional<ConstraintMatcher>& ahead,
                               ChoiceWorkspace& workspace) const;

  // What was held back, at the end of an answer that did not stop.
  std::string flush() { return stream_.flush(); }

  ActiveRequest& request() const { return *request_; }
  const std::shared_ptr<ActiveRequest>& shared_request() const { return request_; }
  int32_t index() const { return index_; }

 private:
  struct Place {
    std::span<const int32_t> prompt;
    std::span<const int32_t> generated;
  };
  RowDraw row_draw(const SamplingParams& params, size_t num_prompt, size_t num_generated) const;
  // Draws by the parameters, under the matcher's mask.
  Result<SampledToken> draw(const DrawnRow& row, const Place& place, const SamplingParams& params,
                            std::optional<ConstraintMatcher>& matcher, ChoiceWorkspace& workspace) const;
  Status fill_allowed(ConstraintMatcher& matcher, bool is_early, std::vector<uint32_t>& allowed) const;

  std::shared_ptr<ActiveRequest> request_;
  int32_t index_;
  uint64_t random_key_;
  std::optional<ConstraintMatcher> matcher_;
  RequestStream stream_;
};

}  // namespace fathom
