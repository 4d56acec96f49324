#include "engine/prompt_lookup.h"

#include <algorithm>

#include "base/random.h"

namespace fathom {
namespace {

// Earlier places that are looked at: text that repeats a phrase a thousand times must not cost a thousand.
constexpr int kMaxCandidates = 16;

}  // namespace

// Of the kMinMatch tokens before position `end`. Keys may collide: places are compared.
uint64_t PromptLookup::key_at(int64_t end) const {
  uint64_t key = 0;
  for (int64_t i = end - kMinMatch; i < end; ++i) {
    key = mix_bits(key ^ static_cast<uint32_t>(tokens_[static_cast<size_t>(i)]));
  }
  return key;
}

void PromptLookup::extend(std::span<const int32_t> tokens) {
  auto end = static_cast<int64_t>(tokens_.size());
  tokens_.insert(tokens_.end(), tokens.begin() + end, tokens.end());
  earlier_.resize(tokens_.size() + 1, -1);
  for (++end; end <= static_cast<int64_t>(tokens_.size()); ++end) {
    if (end < kMinMatch) continue;
    const auto [place, is_new] = latest_.try_emplace(key_at(end), static_cast<int32_t>(end));
    if (is_new) continue;
    earlier_[static_cast<size_t>(end)] = place->second;
    place->second = static_cast<int32_t>(end);
  }
}

// How many tokens before `end` equal those before the end of all.
int64_t PromptLookup::agreement(int64_t end) const {
  const auto size = static_cast<int64_t>(tokens_.size());
  int64_t length = 0;
  while (length < std::min(kMaxMatch, end) &&
         tokens_[static_cast<size_t>(end - 1 - length)] == tokens_[static_cast<size_t>(size - 1 - length)]) {
    ++length;
  }
  return length;
}

PromptLookup::Match PromptLookup::find() const {
  Match best;
  int32_t place = earlier_.empty() ? -1 : earlier_.back();
  for (int i = 0; place >= 0 && i < kMaxCandidates; ++i, place = earlier_[static_cast<size_t>(place)]) {
    const int64_t length = agreement(place);
    if (length >= kMinMatch && length > best.length) best = {length, place};
  }
  return best;
}

void PromptLookup::draft(const Match& match, int64_t num_tokens, std::vector<int32_t>& drafts) const {
  drafts.clear();
  const auto known = static_cast<int64_t>(tokens_.size()) - match.next;
  for (int64_t i = 0; i < num_tokens; ++i) {
    drafts.push_back(i < known ? tokens_[static_cast<size_t>(match.next + i)]
                               : drafts[static_cast<size_t>(i - known)]);
  }
}

}  // namespace fathom
