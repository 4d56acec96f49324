// The pool of cache pages as integers: which page ids are free and how many holders each used one has.
// Not the memory itself: a page id names the same place in every layer's cache buffer, which the device owns.
// One thread owns a pool.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"

namespace fathom {

using PageId = int32_t;

// Tokens in a page, unless configured: the seed system's page size.
inline constexpr int32_t kDefaultBlockSize = 128;

class PagePool {
 public:
  // num_pages >= 1 pages of block_size >= 1 tokens, all free.
  explicit PagePool(int32_t num_pages, int32_t block_size = kDefaultBlockSize);
  // Checks that every page came home.
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  int32_t num_pages() const { return static_cast<int32_t>(reference_counts_.size()); }
  int32_t block_size() const { return block_size_; }
  int32_t num_free() const { return static_cast<int32_t>(free_pages_.size()); }
  int32_t num_used() const { return num_pages() - num_free(); }
  // Tokens that all pages together hold.
  int64_t capacity() const { return int64_t{num_pages()} * block_size_; }
  // Pages that num_tokens >= 0 tokens of one sequence fill.
  int64_t num_pages_for(int64_t num_tokens) const;

  // A free page, now with one holder; nullopt when none is free.
  [[nodiscard]] std::optional<PageId> allocate();
  // One more holder of a used page.
  void retain(PageId page);
  // One holder less; without holders the page is free.
  void release(PageId page);

  // For tests: recounts everything. `held` lists the pages of all holders, a page once per holder, in any
  // order. kInvalidData names the first page whose count is wrong or that is free and used at once.
  Status check_integrity(std::span<const PageId> held) const;

 private:
  int32_t block_size_;
  std::vector<int32_t> reference_counts_;  // [num_pages], 0 is free
  std::vector<PageId> free_pages_;         // a stack: the page freed last is used first, it is warm
};

}  // namespace fathom
