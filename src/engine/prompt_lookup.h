// Drafts without a draft model: where a sequence's last tokens stood before, what followed them there. Code
// edits, quotations and tables repeat themselves. Integers only.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace fathom {

// One per sequence.
class PromptLookup {
 public:
  // Tokens that must agree at least, and up to which the longer agreement is the better one.
  static constexpr int64_t kMinMatch = 3;
  static constexpr int64_t kMaxMatch = 32;

  // All tokens of the sequence; those known before must be the same. O(new tokens).
  void extend(std::span<const int32_t> tokens);

  struct Match {
    int64_t length = 0;  // tokens that agree, 0: none
    int64_t next = 0;    // position of the token after the earlier place
  };
  // The earlier place that agrees longest with the end of the tokens, the latest of those that agree alike.
  Match find() const;
  // The num_tokens that followed the match. A place so late that its continuation is not known yet goes on
  // with the drafts themselves, which is what a loop does.
  void draft(const Match& match, int64_t num_tokens, std::vector<int32_t>& drafts) const;

 private:
  uint64_t key_at(int64_t end) const;
  int64_t agreement(int64_t end) const;

  std::vector<int32_t> tokens_;
  std::unordered_map<uint64_t, int32_t> latest_;  // last kMinMatch tokens -> the position behind them
  std::vector<int32_t> earlier_;                  // [position behind]: the one before with that key, or -1
};

}  // namespace fathom
