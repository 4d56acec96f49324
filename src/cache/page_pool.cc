#include "cache/page_pool.h"

#include "base/check.h"
#include "base/checked_math.h"

namespace fathom {

PagePool::PagePool(int32_t num_pages, int32_t block_size) : block_size_(block_size) {
  FATHOM_CHECK(num_pages >= 1, "num_pages {}", num_pages);
  FATHOM_CHECK(block_size >= 1, "block_size {}", block_size);
  reference_counts_.assign(static_cast<size_t>(num_pages), 0);
  free_pages_.reserve(static_cast<size_t>(num_pages));
  for (PageId page = num_pages - 1; page >= 0; --page) free_pages_.push_back(page);
}

PagePool::~PagePool() { FATHOM_CHECK(num_used() == 0, "{} of {} pages still held", num_used(), num_pages()); }

int64_t PagePool::num_pages_for(int64_t num_tokens) const {
  FATHOM_DCHECK(num_tokens >= 0, "num_tokens {}", num_tokens);
  return ceil_div(num_tokens, block_size_);
}

std::optional<PageId> PagePool::allocate() {
  if (free_pages_.empty()) return std::nullopt;
  const PageId page = free_pages_.back();
  free_pages_.pop_back();
  int32_t& count = reference_counts_[static_cast<size_t>(page)];
  FATHOM_CHECK(count == 0, "free page {} has {} holders", page, count);
  count = 1;
  return page;
}

void PagePool::retain(PageId page) {
  FATHOM_CHECK(page >= 0 && page < num_pages(), "page {} of {}", page, num_pages());
  int32_t& count = reference_counts_[static_cast<size_t>(page)];
  FATHOM_CHECK(count >= 1, "page {} is free", page);
  ++count;
}

void PagePool::release(PageId page) {
  FATHOM_CHECK(page >= 0 && page < num_pages(), "page {} of {}", page, num_pages());
  int32_t& count = reference_counts_[static_cast<size_t>(page)];
  FATHOM_CHECK(count >= 1, "page {} is free", page);
  if (--count == 0) free_pages_.push_back(page);
}

Status PagePool::check_integrity(std::span<const PageId> held) const {
  std::vector<int32_t> holders(reference_counts_.size(), 0);
  for (PageId page : held) {
    if (page < 0 || page >= num_pages()) return invalid_data("held page {} of {}", page, num_pages());
    ++holders[static_cast<size_t>(page)];
  }
  std::vector<int32_t> times_free(reference_counts_.size(), 0);
  for (PageId page : free_pages_) {
    if (page < 0 || page >= num_pages()) return invalid_data("free page {} of {}", page, num_pages());
    ++times_free[static_cast<size_t>(page)];
  }
  for (size_t page = 0; page < holders.size(); ++page) {
    if (reference_counts_[page] != holders[page])
      return invalid_data("page {}: counted {} holders, has {}", page, reference_counts_[page],
                          holders[page]);
    const int32_t expected = holders[page] == 0 ? 1 : 0;
    if (times_free[page] != expected)
      return invalid_data("page {} with {} holders is {} times in the free list", page, holders[page],
                          times_free[page]);
  }
  return ok_status();
}

}  // namespace fathom
