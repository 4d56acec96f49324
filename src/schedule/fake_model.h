// A model for simulations of the scheduler: no tensors, but the data flow of a real one. The latent of a
// position is a hash of its token, its form, its sequence's salt and all latents before it, which it reads
// through the page table as it finds them; the next token is a hash of all latents up to a position. So a
// page lost, shared or overwritten, a stale or missing copy, a position skipped or computed in the wrong form
// changes the output. Included by tests only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "schedule/scheduler.h"

namespace fathom {

class FakeModel {
 public:
  static constexpr int32_t kVocabulary = 1000;

  // What a latent depends on beside the latents before it.
  struct Request {
    std::vector<int32_t> prompt = {};
    std::string salt = {};
    int64_t expanded_prompt_tokens = 0;

    bool is_expanded(int64_t position) const {
      const auto prompt_len = static_cast<int64_t>(prompt.size());
      return position < prompt_len && prompt_len >= expanded_prompt_tokens;
    }
  };

  // A cache for each of num_homes pools of this size.
  explicit FakeModel(const PagePool& pool, size_t num_homes)
      : block_size_(pool.block_size()),
        latents_(num_homes, std::vector<uint64_t>(static_cast<size_t>(pool.capacity()))) {}

  void copy(const PageCopy& copy) {
    for (int64_t row = 0; row < copy.num_tokens; ++row)
      latent(copy.home, copy.to * block_size_ + row) = latent(copy.home, copy.from * block_size_ + row);
  }

  // Computes positions [begin, begin + tokens.size()) in the sequence's pages; the tokens that follow each of
  // them.
  std::vector<int32_t> compute(const Request& request, const Sequence& sequence, int64_t begin,
                               std::span<const int32_t> tokens) {
    uint64_t state = start(request);
    for (int64_t position = 0; position < begin; ++position)
      state = read(state, latent(sequence.home, sequence.pages.slot(position)));
    std::vector<int32_t> next;
    for (int32_t token : tokens) {
      uint64_t& written = latent(sequence.home, sequence.pages.slot(begin));
      written = latent_of(state, token, request.is_expanded(begin++));
      state = read(state, written);
      next.push_back(token_after(state));
    }
    return next;
  }

  // The same without pages: the first `count` tokens of an answer, where nothing ends it.
  static std::vector<int32_t> answer_alone(const Request& request, int64_t count) {
    uint64_t state = start(request);
    std::vector<int32_t> tokens = request.prompt;
    for (int64_t position = 0;; ++position) {
      state =
          read(state, latent_of(state, tokens[static_cast<size_t>(position)], request.is_expanded(position)));
      if (position + 1 < static_cast<int64_t>(request.prompt.size())) continue;
      if (static_cast<int64_t>(tokens.size() - request.prompt.size()) == count) return tokens;
      tokens.push_back(token_after(state));
    }
  }

 private:
  static uint64_t start(const Request& request) { return random_key(0, request.salt); }
  static uint64_t read(uint64_t state, uint64_t latent) { return mix_bits(state ^ latent); }
  static uint64_t latent_of(uint64_t state, int32_t token, bool is_expanded) {
    return mix_bits(state + mix_bits(static_cast<uint64_t>(token) * 2 + (is_expanded ? 1 : 0)));
  }
  static int32_t token_after(uint64_t state) { return static_cast<int32_t>(mix_bits(state) % kVocabulary); }
  uint64_t& latent(int64_t home, int64_t slot) {
    return latents_[static_cast<size_t>(home)][static_cast<size_t>(slot)];
  }

  int64_t block_size_;
  std::vector<std::vector<uint64_t>> latents_;  // [homes][slots]
};

}  // namespace fathom
