#include "sample/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/random.h"
#include "sample/exact_exp.h"
#include "sample/log_softmax.h"
#include "sample/logit_scan.h"

namespace fathom {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
// First head of the ranking that top_p sorts, and its growth: most distributions of a trained model reach
// their share within the first, and each further one costs another pass over the vocabulary.
constexpr size_t kFirstHead = 128;
constexpr size_t kHeadGrowth = 8;

// Orders (logit, id) as one integer: the greater logit first, the lower id first among equals.
uint64_t make_rank(float logit, size_t id) {
  const uint32_t bits = std::bit_cast<uint32_t>(logit + 0.0f);  // -0 becomes +0
  const uint32_t ascending = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return (uint64_t{~ascending} << 32) | static_cast<uint32_t>(id);
}

float rank_logit(uint64_t rank) {
  const uint32_t ascending = ~static_cast<uint32_t>(rank >> 32);
  return std::bit_cast<float>((ascending >> 31) != 0 ? ascending & 0x7fffffffu : ~ascending);
}

// Keeps the `count` smallest of the ranks pushed, in a buffer of twice that: one comparison for most.
class Selection {
 public:
  Selection(std::vector<uint64_t>& buffer, size_t count) : buffer_(buffer), count_(count) { buffer_.clear(); }

  void push(uint64_t rank) {
    if (rank >= limit_) return;
    buffer_.push_back(rank);
    if (buffer_.size() >= 2 * count_) shrink();
  }

  // The ranks kept, smallest first.
  std::span<const uint64_t> sorted() {
    shrink();
    std::sort(buffer_.begin(), buffer_.end());
    return buffer_;
  }

  // The greatest rank kept; kNoLimit when fewer than `count` were pushed.
  uint64_t last() {
    shrink();
    return buffer_.size() < count_ ? kNoLimit : *std::max_element(buffer_.begin(), buffer_.end());
  }

 private:
  void shrink() {
    if (buffer_.size() <= count_) return;
    const auto last = buffer_.begin() + static_cast<std::ptrdiff_t>(count_ - 1);
    std::nth_element(buffer_.begin(), last, buffer_.end());
    limit_ = *last;
    buffer_.resize(count_);
  }

  std::vector<uint64_t>& buffer_;
  size_t count_;
  uint64_t limit_ = kNoLimit;
};

Result<Peak> find_allowed_peak(const SampleInput& input, std::span<const float> prepared) {
  Result<Peak> peak = find_peak(prepared);
  if (peak.ok() || input.allowed.empty() || !find_peak(input.logits).ok()) return peak;
  return invalid_data("the mask allows none of the {} tokens that have a finite logit",
                      std::count_if(input.logits.begin(), input.logits.end(),
                                    [](float logit) { return std::isfinite(logit); }));
}

float penalise(float logit, int32_t num_generated, const SamplingParams& params) {
  if (std::isinf(logit)) return logit;
  double x = logit;
  x = x > 0 ? x / params.repetition_penalty : x * params.repetition_penalty;
  if (num_generated > 0) x -= params.frequency_penalty * num_generated + params.presence_penalty;
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(x, -kLargest, kLargest));
}

float add_bias(float logit, double bias) {
  if (std::isinf(logit)) return logit;
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(logit + bias, -kLargest, kLargest));
}

// To workspace.logits. `seen` counts 2 for each time a token was generated and 1 for being in the prompt.
void apply_penalties(const SampleInput& input, const SamplingParams& params, SamplerWorkspace& workspace) {
  const size_t vocabulary = input.logits.size();
  if (workspace.seen.size() < vocabulary) workspace.seen.resize(vocabulary, 0);
  workspace.touched.clear();
  const auto in_vocabulary = [vocabulary](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < vocabulary;
  };
  for (int32_t id : input.generated_tokens) {
    if (!in_vocabulary(id)) continue;
    int32_t& seen = workspace.seen[static_cast<size_t>(id)];
    if (seen == 0) workspace.touched.push_back(id);
    seen += 2;
  }
  if (params.repetition_penalty != 1) {
    for (int32_t id : input.prompt_tokens) {
      if (!in_vocabulary(id)) continue;
      int32_t& seen = workspace.seen[static_cast<size_t>(id)];
      if (seen == 0) workspace.touched.push_back(id);
      seen |= 1;
    }
  }
  for (int32_t id : workspace.touched) {
    float& logit = workspace.logits[static_cast<size_t>(id)];
    int32_t& seen = workspace.seen[static_cast<size_t>(id)];
    logit = penalise(logit, seen / 2, params);
    seen = 0;
  }
}

// Steps 0 and 1: a copy in the workspace where anything changes.
std::span<const float> adjust_logits(const SampleInput& input, const SamplingParams& params,
                                     SamplerWorkspace& workspace) {
  if (!params.has_penalties() && params.logit_bias.empty() && input.banned_tokens.empty() &&
      input.allowed.empty()) {
    return input.logits;
  }
  copy_allowed(input.logits, input.allowed, workspace.logits);
  if (params.has_penalties()) apply_penalties(input, params, workspace);
  const auto logit_of = [&workspace](int32_t id) {
    const auto index = static_cast<size_t>(id);
    return id >= 0 && index < workspace.logits.size() ? &workspace.logits[index] : nullptr;
  };
  for (const LogitBias& entry : params.logit_bias) {
    if (float* logit = logit_of(entry.token_id)) *logit = add_bias(*logit, entry.bias);
  }
  for (int32_t id : input.banned_tokens) {
    if (float* logit = logit_of(id)) {
      // A logit that is no number must still be seen by find_peak.
      if (*logit <= std::numeric_limits<float>::max()) *logit = -std::numeric_limits<float>::infinity();
    }
  }
  return workspace.logits;
}

// The weight function of one row.
struct Weigher {
  double max_logit;
  double temperature;

  double operator()(float logit) const { return exact_exp((logit - max_logit) / temperature); }
};

// Steps 3 and 4: min_p and top_k into workspace.candidates, in order of id.
void collect_candidates(std::span<const float> logits, const Weigher& weigh, const SamplingParams& params,
                        SamplerWorkspace& workspace) {
  // No weight at a smaller logit reaches min_p: a cheap test before the exact one, a little wider than it.
  const double lowest = params.min_p > 0
                            ? weigh.max_logit + weigh.temperature * (std::log(params.min_p) - 1e-6) -
                                  1e-6 * std::abs(weigh.max_logit)
                            : -std::numeric_limits<float>::max();
  uint64_t last_rank = kNoLimit;
  // min_p keeps a head of the ranking too, so that the order of the two does not matter for the set.
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < logits.size()) {
    Selection selection(workspace.ranks, static_cast<size_t>(params.top_k));
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] >= lowest) selection.push(make_rank(logits[i], i));
    }
    last_rank = selection.last();
  }
  workspace.candidates.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] >= lowest)) continue;
    const uint64_t rank = make_rank(logits[i], i);
    if (rank > last_rank) continue;
    const double weight = weigh(logits[i]);
    if (weight >= params.min_p) workspace.candidates.push_back({rank, weight});
  }
}

double sum_of_weights(std::span<const Candidate> candidates) {
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += candidate.weight;
  return sum;
}

// Step 5: drops from the candidates what top_p does not keep.
void keep_top_p(const Weigher& weigh, double top_p, SamplerWorkspace& workspace) {
  std::vector<Candidate>& candidates = workspace.candidates;
  const double wanted = top_p * sum_of_weights(candidates);
  for (size_t head = kFirstHead;; head *= kHeadGrowth) {
    const size_t count = std::min(head, candidates.size());
    Selection selection(workspace.ranks, count);
    for (const Candidate& candidate : candidates) selection.push(candidate.rank);
    double sum = 0;
    for (uint64_t rank : selection.sorted()) {
      sum += weigh(rank_logit(rank));
      if (sum >= wanted) {
        std::erase_if(candidates, [rank](const Candidate& candidate) { return candidate.rank > rank; });
        return;
      }
    }
    if (count == candidates.size()) return;  // rounding left the sum just below: all are kept
  }
}

const Candidate& draw(std::span<const Candidate> candidates, double u) {
  const double target = u * sum_of_weights(candidates);
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    sum += candidate.weight;
    if (sum > target) return candidate;
  }
  FATHOM_CHECK(false, "u {} of {} candidates, sum {}", u, candidates.size(), sum);
  return candidates.back();
}

void add_logprobs(std::span<const float> logits, int32_t num_top, SamplerWorkspace& workspace,
                  SampledToken& token) {
  const LogSoftmax log_softmax(logits);
  token.logprob = log_softmax.of(logits[static_cast<size_t>(token.id)]);
  if (num_top == 0) return;
  Selection selection(workspace.ranks, std::min(static_cast<size_t>(num_top), logits.size()));
  for (size_t i = 0; i < logits.size(); ++i) selection.push(make_rank(logits[i], i));
  for (uint64_t rank : selection.sorted())
    token.top_logprobs.push_back({Candidate{rank, 0}.id(), log_softmax.of(rank_logit(rank))});
}

// Steps 2 to 5 over penalised logits.
void fill_candidates(std::span<const float> logits, float max_logit, const SamplingParams& params,
                     SamplerWorkspace& workspace) {
  const Weigher weigh{max_logit, params.temperature};
  collect_candidates(logits, weigh, params, workspace);
  if (params.top_p < 1) keep_top_p(weigh, params.top_p, workspace);
}

}  // namespace

Result<SampledToken> token_logprobs(std::span<const float> logits, int32_t id, int32_t num_top,
                                    SamplerWorkspace& workspace) {
  FATHOM_CHECK(id >= 0 && static_cast<size_t>(id) < logits.size(), "token id {}", id);
  FATHOM_RETURN_IF_ERROR(find_peak(logits).status());
  SampledToken token{.id = id, .logprob = {}, .top_logprobs = {}};
  add_logprobs(logits, num_top, workspace, token);
  return token;
}

uint64_t sampler_key(uint64_t seed) { return random_key(seed, "sample"); }

Result<SampledToken> sample(const SampleInput& input, const SamplingParams& params,
                            SamplerWorkspace& workspace) {
  const std::span<const float> logits = adjust_logits(input, params, workspace);
  FATHOM_ASSIGN_OR_RETURN(const Peak peak, find_allowed_peak(input, logits));
  SampledToken token;
  if (params.is_greedy()) {
    token.id = static_cast<int32_t>(peak.id);
  } else {
    fill_candidates(logits, peak.logit, params, workspace);
    const uint64_t position = input.prompt_tokens.size() + input.generated_tokens.size();
    token.id = draw(workspace.candidates, random_uniform(input.random_key, position)).id();
  }
  if (params.logprobs) add_logprobs(input.logits, *params.logprobs, workspace, token);
  return token;
}

Result<std::span<const Candidate>> sample_candidates(const SampleInput& input, const SamplingParams& params,
                                                     SamplerWorkspace& workspace) {
  FATHOM_CHECK(!params.is_greedy(), "temperature 0 has no candidates");
  const std::span<const float> logits = adjust_logits(input, params, workspace);
  FATHOM_ASSIGN_OR_RETURN(const Peak peak, find_allowed_peak(input, logits));
  fill_candidates(logits, peak.logit, params, workspace);
  return std::span<const Candidate>(workspace.candidates);
}

}  // namespace fathom
