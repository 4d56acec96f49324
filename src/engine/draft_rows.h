// Which rows of the cache's pages the draft model has computed too. Its latents lie in pages of the same
// numbers as the model's, so that prefixes taken over, choices that share a prompt and copied pages need no
// rules of their own; it may be behind, since it computes only what drafts are wanted for. Integers only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/batch_plan.h"

namespace fathom {

class DraftRows {
 public:
  DraftRows(int64_t num_pages, int64_t block_size)
      : block_size_(block_size), rows_(static_cast<size_t>(num_pages), 0) {}

  // Of a sequence's first `limit` positions, which the model has computed: how many from the first on the
  // draft model has too.
  int64_t num_known(std::span<const PageId> pages, int64_t limit) const;
  // The draft model has computed positions [begin, end), those before begin are known.
  void learn(std::span<const PageId> pages, int64_t begin, int64_t end);
  // The model has written positions [begin, end): what the draft model has there is of other tokens.
  void forget(std::span<const PageId> pages, int64_t begin, int64_t end);
  // How many of the copy's rows are known, and from now on in the page that they went to too.
  int64_t copy(const PageCopy& copy);

 private:
  int64_t block_size_;
  std::vector<int32_t> rows_;  // [num_pages]: so many first rows
};

}  // namespace fathom
