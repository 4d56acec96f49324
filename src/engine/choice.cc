#include "engine/choice.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace fathom {

uint64_t choice_seed(uint64_t seed, int32_t choice) {
  return choice == 0 ? seed : random_bits(seed, static_cast<uint64_t>(choice));
}

ActiveRequest::ActiveRequest(Request&& request, RequestId id_, std::span<const int32_t> model_end_ids,
                             RequestListener listener_)
    : id(id_),
      sampling(std::move(request.sampling)),
      constraint(std::move(request.constraint)),
      listener(std::move(listener_)) {
  if (PromptScorer::asks(request.scoring))
    scorer.emplace(std::move(request.scoring), request.prompt_ids.size());
  if (constraint) {
    end_ids.assign(constraint->trie().end_ids().begin(), constraint->trie().end_ids().end());
    // An end that is drawn all the same is one: nothing else can follow it.
    if (std::exchange(sampling.ignore_eos, false)) avoided_ids = end_ids;
  } else {
    end_ids.assign(model_end_ids.begin(), model_end_ids.end());
  }
  guessing = sampling;
  guessing.logprobs.reset();
  if (sampling.min_tokens == 0) return;
  early_ids = sampling.stop_token_ids;
  if (!sampling.ignore_eos) early_ids.insert(early_ids.end(), end_ids.begin(), end_ids.end());
}

Choice::Choice(std::shared_ptr<ActiveRequest> request, int32_t index, const Tokenizer* tokenizer)
    : request_(std::move(request)),
      index_(index),
      random_key_(sampler_key(choice_seed(request_->sampling.seed.value_or(0), index))),
      stream_(tokenizer, request_->sampling, request_->end_ids) {
  if (request_->constraint) matcher_.emplace(request_->constraint);
}

namespace {

void remove_unless_last(std::span<const int32_t> ids, std::vector<uint32_t>& allowed) {
  std::vector<uint32_t> rest = allowed;
  for (int32_t id : ids) {
    const auto index = static_cast<size_t>(id);
    if (index / 32 < rest.size()) rest[index / 32] &= ~(1u << (index % 32));
  }
  if (std::any_of(rest.begin(), rest.end(), [](uint32_t word) { return word != 0; })) allowed = rest;
}

}  // namespace

// The constraint's mask, less what would end the answer too early where it can go on.
Status Choice::fill_allowed(ConstraintMatcher& matcher, bool is_early, std::vector<uint32_t>& allowed) const {
  allowed.resize(request_->constraint->trie().num_words());
  FATHOM_RETURN_IF_ERROR(matcher.fill_mask(allowed));
  if (!request_->avoided_ids.empty()) remove_unless_last(request_->avoided_ids, allowed);
  if (is_early) remove_unless_last(request_->early_ids, allowed);
  return ok_status();
}

RowDraw Choice::row_draw(const SamplingParams& params, size_t num_prompt, size_t num_generated) const {
  const bool is_early = static_cast<int64_t>(num_generated) < params.min_tokens;
  return {.params = &params,
          .u = sampler_number(random_key_, num_prompt + num_generated),
          .needs_logits = matcher_.has_value() || is_early};
}

RowDraw Choice::draw_at(size_t num_prompt, size_t num_generated) const {
  return row_draw(request_->sampling, num_prompt, num_generated);
}

RowDraw Choice::guess_at(size_t num_prompt, size_t num_generated) const {
  return row_draw(request_->guessing, num_prompt, num_generated);
}

Result<SampledToken> Choice::draw(const DrawnRow& row, const Place& place, const SamplingParams& params,
                                  std::optional<ConstraintMatcher>& matcher,
                                  ChoiceWorkspace& workspace) const {
  if (row.logits.empty()) return SampledToken{.id = row.token_id, .logprob = {}, .top_logprobs = {}};
  const bool is_early = static_cast<int64_t>(place.generated.size()) < params.min_tokens;
  SampleInput input{.logits = row.logits,
                    .prompt_tokens = place.prompt,
                    .generated_tokens = place.generated,
                    .random_key = random_key_};
  if (matcher) {
    FATHOM_RETURN_IF_ERROR(fill_allowed(*matcher, is_early, workspace.allowed));
    input.allowed = workspace.allowed;
  } else if (is_early) {
    input.banned_tokens = request_->early_ids;
  }
  return sample(input, params, workspace.sampler);
}

Result<Choice::Step> Choice::next(const DrawnRow& row, std::span<const int32_t> prompt,
                                  std::span<const int32_t> generated, ChoiceWorkspace& workspace) {
  Step step;
  step.is_first = generated.empty();
  FATHOM_ASSIGN_OR_RETURN(step.token,
                          draw(row, {prompt, generated}, request_->sampling, matcher_, workspace));
  if (matcher_ && !matcher_->accept(step.token.id)) {
    FATHOM_CHECK(!matcher_->status().ok(), "token {} was allowed and is not accepted", step.token.id);
    return matcher_->status();
  }
  RequestStream::Piece piece = stream_.push(step.token.id);
  step.text = std::move(piece.text);
  step.stops = piece.verdict == StopVerdict::kStop;
  if (!step.stops && matcher_ && matcher_->can_end_only()) {
    step.text += stream_.flush();
    step.stops = true;
  }
  return step;
}

std::optional<int32_t> Choice::guess(const DrawnRow& row, std::span<const int32_t> prompt,
                                     std::span<const int32_t> generated,
                                     std::optional<ConstraintMatcher>& ahead,
                                     ChoiceWorkspace& workspace) const {
  const SamplingParams& params = request_->guessing;
  const Result<SampledToken> token = draw(row, {prompt, generated}, params, ahead, workspace);
  if (!token.ok()) return std::nullopt;
  const auto is_in = [id = token->id](std::span<const int32_t> ids) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  if (is_in(params.stop_token_ids) || (!params.ignore_eos && is_in(request_->end_ids))) return std::nullopt;
  if (ahead && !ahead->accept(token->id)) return std::nullopt;
  return token->id;
}

}  // namespace fathom
