#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/random.h"
#include "sample/log_softmax.h"
#include "sample/logit_scan.h"
#include "sample/weights.h"

namespace fathom {
namespace {

// First head of the ranking that top_p sorts, and its growth: most distributions of a trained model reach
// their share within the first, and each further one costs another pass over the vocabulary.
constexpr size_t kFirstHead = 128;
constexpr size_t kHeadGrowth = 8;

// Keeps the `count` tokens first in rank of those pushed with logits from `floor` on, in a buffer of twice
// that: one comparison for most.
class Selection {
 public:
  Selection(std::vector<uint64_t>& buffer, size_t count, float floor)
      : buffer_(buffer), count_(count), floor_(floor) {
    buffer_.clear();
  }

  void push(std::span<const float> logits) {
    for (size_t i = 0; i < logits.size(); ++i) {
      if (!(logits[i] >= floor_)) continue;
      const uint64_t rank = make_rank(logits[i], static_cast<uint32_t>(i));
      if (rank >= limit_) continue;
      buffer_.push_back(rank);
      if (buffer_.size() >= 2 * count_) shrink();
    }
  }

  // The ranks kept, smallest first.
  std::span<const uint64_t> sorted() {
    shrink();
    std::sort(buffer_.begin(), buffer_.end());
    return buffer_;
  }

 private:
  void shrink() {
    if (buffer_.size() <= count_) return;
    const auto last = buffer_.begin() + static_cast<std::ptrdiff_t>(count_ - 1);
    std::nth_element(buffer_.begin(), last, buffer_.end());
    limit_ = *last;
    floor_ = rank_logit(limit_);
    buffer_.resize(count_);
  }

  std::vector<uint64_t>& buffer_;
  size_t count_;
  float floor_;
  uint64_t limit_ = std::numeric_limits<uint64_t>::max();
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

// What steps 3 to 5 leave: these, in order of id, or all tokens with logits from floor on.
struct Left {
  std::span<const Candidate> some = {};
  float floor = 0;
};

double sum_of_weights(std::span<const Candidate> candidates) {
  RunningSum sum;
  for (const Candidate& candidate : candidates) sum.add(candidate.id(), candidate.weight);
  return sum.value();
}

// These tokens as candidates.
std::span<const Candidate> take(std::span<const uint64_t> ranks, const Weigher& weigh,
                                SamplerWorkspace& workspace) {
  std::vector<Candidate>& candidates = workspace.candidates;
  candidates.clear();
  for (uint64_t rank : ranks) candidates.push_back({rank, weigh(rank_logit(rank))});
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.id() < b.id(); });
  return candidates;
}

// How many of a head of the ranking reach `wanted` with their weights; 0: all of them do not.
size_t reach(std::span<const uint64_t> head, const Weigher& weigh, double wanted) {
  double sum = 0;
  for (size_t i = 0; i < head.size(); ++i) {
    sum += weigh(rank_logit(head[i]));
    if (sum >= wanted) return i + 1;
  }
  return 0;
}

// Step 5 of a head that is all that steps 3 and 4 leave.
std::span<const Candidate> take_top_p(std::span<const uint64_t> head, const Weigher& weigh, double top_p,
                                      SamplerWorkspace& workspace) {
  const std::span<const Candidate> all = take(head, weigh, workspace);
  if (top_p >= 1) return all;
  const size_t count = reach(head, weigh, top_p * sum_of_weights(all));
  // Rounding may leave the sum just below: all are kept.
  return count == 0 ? all : take(head.first(count), weigh, workspace);
}

bool is_limited(const SamplingParams& params, size_t vocabulary) {
  return params.top_k > 0 && static_cast<size_t>(params.top_k) < vocabulary;
}

// The `count` first in rank of the logits from floor on, in order.
std::span<const uint64_t> find_head(std::span<const float> logits, float floor, size_t count,
                                    SamplerWorkspace& workspace) {
  Selection selection(workspace.ranks, count, floor);
  selection.push(logits);
  return selection.sorted();
}

// Steps 3 to 5 over penalised logits.
Left filter(std::span<const float> logits, const Weigher& weigh, const SamplingParams& params,
            SamplerWorkspace& workspace) {
  const float floor = params.min_p > 0 ? least_logit(weigh, params.min_p) : -kLargestFloat;
  if (is_limited(params, logits.size())) {
    const auto head = find_head(logits, floor, static_cast<size_t>(params.top_k), workspace);
    return {.some = take_top_p(head, weigh, params.top_p, workspace)};
  }
  if (params.top_p >= 1) return {.floor = floor};
  const double wanted = params.top_p * sum_weights(logits, weigh, floor, workspace.group_sums);
  for (size_t count = kFirstHead;; count *= kHeadGrowth) {
    const auto head = find_head(logits, floor, count, workspace);
    if (const size_t num_kept = reach(head, weigh, wanted); num_kept > 0)
      return {.some = take(head.first(num_kept), weigh, workspace)};
    if (head.size() < count) return {.floor = floor};
  }
}

int32_t draw(std::span<const Candidate> candidates, double u) {
  const double target = u * sum_of_weights(candidates);
  RunningSum sum;
  for (const Candidate& candidate : candidates) {
    sum.add(candidate.id(), candidate.weight);
    if (sum.value() > target) return candidate.id();
  }
  FATHOM_CHECK(false, "u {} of {} candidates, sum {}", u, candidates.size(), sum.value());
  return 0;
}

int32_t draw(std::span<const float> logits, const Weigher& weigh, const Left& left, double u,
             SamplerWorkspace& workspace) {
  if (!left.some.empty()) return draw(left.some, u);
  const double sum = sum_weights(logits, weigh, left.floor, workspace.group_sums);
  return find_in_weights(logits, weigh, left.floor, workspace.group_sums, u * sum);
}

void add_logprobs(std::span<const float> logits, int32_t num_top, SamplerWorkspace& workspace,
                  SampledToken& token) {
  const LogSoftmax log_softmax(logits);
  token.logprob = log_softmax.of(logits[static_cast<size_t>(token.id)]);
  if (num_top == 0) return;
  Selection selection(workspace.ranks, std::min(static_cast<size_t>(num_top), logits.size()),
                      -std::numeric_limits<float>::infinity());
  selection.push(logits);
  for (uint64_t rank : selection.sorted())
    token.top_logprobs.push_back({Candidate{rank, 0}.id(), log_softmax.of(rank_logit(rank))});
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

double sampler_number(uint64_t random_key, size_t position) { return random_uniform(random_key, position); }

Result<SampledToken> sample(const SampleInput& input, const SamplingParams& params,
                            SamplerWorkspace& workspace) {
  const std::span<const float> logits = adjust_logits(input, params, workspace);
  FATHOM_ASSIGN_OR_RETURN(const Peak peak, find_allowed_peak(input, logits));
  SampledToken token;
  if (params.is_greedy()) {
    token.id = static_cast<int32_t>(peak.id);
  } else {
    const Weigher weigh(peak.logit, params.temperature);
    const Left left = filter(logits, weigh, params, workspace);
    const double u =
        sampler_number(input.random_key, input.prompt_tokens.size() + input.generated_tokens.size());
    token.id = draw(logits, weigh, left, u, workspace);
  }
  if (params.logprobs) add_logprobs(input.logits, *params.logprobs, workspace, token);
  return token;
}

Result<std::span<const Candidate>> sample_candidates(const SampleInput& input, const SamplingParams& params,
                                                     SamplerWorkspace& workspace) {
  FATHOM_CHECK(!params.is_greedy(), "temperature 0 has no candidates");
  const std::span<const float> logits = adjust_logits(input, params, workspace);
  FATHOM_ASSIGN_OR_RETURN(const Peak peak, find_allowed_peak(input, logits));
  const Weigher weigh(peak.logit, params.temperature);
  const Left left = filter(logits, weigh, params, workspace);
  if (!left.some.empty()) return left.some;
  return take(find_head(logits, left.floor, logits.size(), workspace), weigh, workspace);
}

RowNeeds needs_of(const SamplingParams& params, size_t vocabulary) {
  RowNeeds needs;
  needs.whole = params.has_penalties() || !params.logit_bias.empty() || params.logprobs.has_value();
  if (needs.whole || params.is_greedy()) return needs;
  if (is_limited(params, vocabulary)) {
    needs.head = static_cast<size_t>(params.top_k);
    return needs;
  }
  const bool is_open = params.min_p == 0;
  if (params.top_p < 1 || !is_open) needs.head = RowNeeds::kAnyHead;
  if (is_open) needs.inverse_temperature = inverse_of(params.temperature);
  needs.draws_from_all = is_open && params.top_p >= 1;
  return needs;
}

std::optional<int32_t> sample(const RowFacts& facts, const SamplingParams& params, size_t vocabulary,
                              double u, SamplerWorkspace& workspace) {
  if (params.is_greedy()) return facts.peak_id;
  if (facts.drawn_id) return facts.drawn_id;
  const Weigher weigh(facts.peak, params.temperature);
  std::span<const uint64_t> head = facts.head;
  bool is_all = facts.head_has_all;  // that steps 3 and 4 leave
  if (params.min_p > 0) {
    const float floor = least_logit(weigh, params.min_p);
    const auto end = std::partition_point(head.begin(), head.end(),
                                          [floor](uint64_t rank) { return rank_logit(rank) >= floor; });
    is_all |= end != head.end();
    head = {head.begin(), end};
  }
  if (is_limited(params, vocabulary)) {
    is_all |= head.size() >= static_cast<size_t>(params.top_k);
    head = head.first(std::min(head.size(), static_cast<size_t>(params.top_k)));
  }
  if (is_all) return draw(take_top_p(head, weigh, params.top_p, workspace), u);
  if (!facts.total) return std::nullopt;
  const size_t count = reach(head, weigh, params.top_p * *facts.total);
  if (count == 0) return std::nullopt;
  return draw(take(head.first(count), weigh, workspace), u);
}

}  // namespace fathom
