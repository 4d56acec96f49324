// From a row of logits to the next token. A pure function of its arguments: the same request gets the same
// token whatever else is in the batch, and in whatever order and on whatever thread its rows are sampled.
//
// Order, as in vLLM: mask, penalties, temperature, min_p, top_k, top_p, draw. In detail, for logits x:
// 0. Where there is a mask: x of a token that it does not allow is -infinity, which penalties leave as it is.
// 1. Penalties, in double, rounded to float and kept finite. A token of prompt or generated: x / r if x > 0,
//    else x * r. A token generated c > 0 times: x - frequency * c - presence. Then the same way x +
//    logit_bias; then banned tokens become -infinity.
// 2. Greedy (temperature 0): the greatest x. Otherwise weight(t) = exp((x[t] - max x) * (1 / temperature)),
//    in double, so that the greatest weight is 1.
// 3. min_p keeps x from the least one on whose weight is >= min_p.
// 4. top_k keeps the k first in rank.
// 5. top_p keeps the fewest first in rank whose weights reach top_p times the sum of the weights that are
//    left; at least one.
// 6. u in [0, 1) is random_uniform(random_key, position of the new token); the draw is the first token in
//    order of id at which the running sum of kept weights exceeds u times their sum.
// Rank is by x, greatest first, the lower id first among equals. Sums are by blocks of ids, as in
// base/draw_math.h (top_p's running sum: in order of rank), exp is our own: no token depends on the C
// library, on the CPU, or on whether a device has done a part of the work (RowFacts).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/draw_math.h"
#include "base/status.h"
#include "sample/sampling_params.h"

namespace fathom {

struct SampleInput {
  // [vocabulary] float32 of one row, not empty. Ids without text are excluded by passing a shorter span.
  std::span<const float> logits;
  std::span<const int32_t> prompt_tokens = {};
  std::span<const int32_t> generated_tokens = {};  // the new token's position is the length of both together
  uint64_t random_key = 0;                         // from sampler_key
  std::span<const int32_t> banned_tokens = {};     // never drawn
  // Bit t % 32 of word t / 32: whether token t may be chosen; beyond its end none may. Empty: all may.
  std::span<const uint32_t> allowed = {};
};

struct TokenLogprob {
  int32_t id = 0;
  double logprob = 0;
};

struct SampledToken {
  int32_t id = 0;
  // Where params.logprobs asks: natural logarithms of the softmax of the logits as the model gave them,
  // before mask, penalties and temperature: also of tokens that were not allowed.
  std::optional<double> logprob;
  std::vector<TokenLogprob> top_logprobs;  // first in rank first
};

// A token that may be drawn; its probability is weight over the sum of all.
struct Candidate {
  uint64_t rank = 0;  // smaller is more likely; the low 32 bits are the id
  double weight = 0;

  int32_t id() const { return static_cast<int32_t>(rank_id(rank)); }
};

// Memory reused from call to call, about 3 MB at a vocabulary of 102,400 where every option is in use. One
// thread at a time; no content matters between calls.
struct SamplerWorkspace {
  std::vector<float> logits;          // masked and penalised copy
  std::vector<int32_t> seen;          // [vocabulary], all zero between calls
  std::vector<int32_t> touched;       // ids with seen != 0
  std::vector<uint64_t> ranks;        // of a selection
  std::vector<Candidate> candidates;  // in order of id
  std::vector<double> group_sums;     // of all weights
};

// Log-probabilities, as SampledToken defines them, of token id in the vocabulary and of the num_top
// likeliest. kInvalidData as for sample().
Result<SampledToken> token_logprobs(std::span<const float> logits, int32_t id, int32_t num_top,
                                    SamplerWorkspace& workspace);

// The key of a request's random numbers, and the number of a new token's position.
uint64_t sampler_key(uint64_t seed);
double sampler_number(uint64_t random_key, size_t position);

// Precondition: params.validate().ok(). kInvalidData where a logit is NaN or +infinity, allowed or not, or
// all allowed ones are -infinity, or none is allowed: the request fails, the engine goes on. Token ids
// outside the vocabulary are ignored by penalties, biases and bans.
Result<SampledToken> sample(const SampleInput& input, const SamplingParams& params,
                            SamplerWorkspace& workspace);

// What sample() draws from, in order of id, for a temperature above 0. Valid until the workspace's next use.
Result<std::span<const Candidate>> sample_candidates(const SampleInput& input, const SamplingParams& params,
                                                     SamplerWorkspace& workspace);

// What is to be known of a row of logits for a draw without mask and banned tokens: its peak always, and
struct RowNeeds {
  static constexpr size_t kAnyHead = SIZE_MAX;  // the longer, the more often it is enough
  bool whole = false;                           // all logits, nothing else is enough
  size_t head = 0;                              // the tokens first in rank
  double inverse_temperature = 0;               // above 0: the sum of all weights by it
  bool draws_from_all = false;                  // the token that u draws from all weights
};
RowNeeds needs_of(const SamplingParams& params, size_t vocabulary);

// What is known of a usable row: one that sample() takes.
struct RowFacts {
  int32_t peak_id = 0;
  float peak = 0;
  std::span<const uint64_t> head = {};  // ranks, smallest first
  bool head_has_all = false;            // every token of a finite logit
  std::optional<double> total;          // RowNeeds::inverse_temperature's sum
  std::optional<int32_t> drawn_id;      // RowNeeds::draws_from_all's token
};
// The token that sample() draws with this u from the logits; nothing where the facts do not say.
// Precondition: not needs_of(params, vocabulary).whole.
std::optional<int32_t> sample(const RowFacts& facts, const SamplingParams& params, size_t vocabulary,
                              double u, SamplerWorkspace& workspace);

}  // namespace fathom
