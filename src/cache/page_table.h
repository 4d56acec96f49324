// A sequence's pages in the order of its positions: where in the cache the latent of each token lies.
// One thread owns a table and its pool.
#pragma once

#include <span>
#include <vector>

#include "cache/page_pool.h"

namespace fathom {

class PageTable {
 public:
  // An empty table. The pool must outlive it.
  explicit PageTable(PagePool& pool) : pool_(&pool) {}
  // An empty table's next pages are of this pool.
  void move_to(PagePool& pool);
  // Releases the pages.
  ~PageTable() { release(); }
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  std::span<const PageId> pages() const { return pages_; }
  // Tokens that the held pages have room for.
  int64_t capacity() const { return static_cast<int64_t>(pages_.size()) * pool_->block_size(); }

  // Takes pages until num_tokens fit; true if they do. All or nothing: on false nothing has changed.
  [[nodiscard]] bool grow(int64_t num_tokens);
  // Appends a page that others may hold too, or that is free with content (PagePool::retain).
  void share(PageId page);
  // Gives back, last first, what num_tokens do not need.
  void shrink(int64_t num_tokens);
  // Gives every page back, last first: so a prefix's content outlives what follows it.
  void release() { shrink(0); }

  // The place of position < capacity() in a layer's cache, counted in tokens:
  // page * block_size + position % block_size.
  int64_t slot(int64_t position) const;

 private:
  PagePool* pool_;
  std::vector<PageId> pages_;
};

}  // namespace fathom
