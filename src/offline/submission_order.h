// In which order prompts are given to the engine, so that what they begin with in common is computed once:
// prompts that begin alike stand side by side, and all but one of them wait until that one has been computed.
// Integers only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <span>
#include <vector>

namespace fathom {

struct SharingRules {
  // So many more tokens have to be shared for a prompt to wait for another. Fewer are computed again sooner
  // than they are waited for.
  size_t min_tokens = 64;
  // Prompts of at least this many tokens share nothing with shorter ones (docs/numerics.md, form rule).
  size_t expanded_prompt_tokens = 0;
};

class SubmissionOrder {
 public:
  // Looks at the prompts during the call only.
  SubmissionOrder(std::span<const std::span<const int32_t>> prompts, const SharingRules& rules);

  // The index of a prompt to submit now, each once; nullopt where all that are left wait for prompts under
  // way.
  std::optional<size_t> next();
  // The prompt is in the cache, or never will be: those that waited for it may go. May be called again.
  void computed(size_t prompt);

  // For tests: the prompt that this one waits for.
  std::optional<size_t> leader(size_t prompt) const;

 private:
  using Ranks = std::priority_queue<size_t, std::vector<size_t>, std::greater<>>;

  // A rank is a place in the order of tokens.
  std::vector<size_t> prompt_at_;
  std::vector<size_t> rank_of_;
  std::vector<size_t> leader_of_;                // by rank; its own where it waits for nobody
  std::vector<std::vector<size_t>> waiting_on_;  // by rank
  Ranks ready_;
};

}  // namespace fathom
