#include "cache/page_table.h"

#include "base/check.h"

namespace fathom {

void PageTable::move_to(PagePool& pool) {
  FATHOM_CHECK(pages_.empty(), "{} pages", pages_.size());
  pool_ = &pool;
}

bool PageTable::grow(int64_t num_tokens) {
  const int64_t missing = pool_->num_pages_for(num_tokens) - static_cast<int64_t>(pages_.size());
  if (missing > pool_->num_free()) return false;
  for (int64_t i = 0; i < missing; ++i) pages_.push_back(*pool_->allocate());
  return true;
}

void PageTable::share(PageId page) {
  pool_->retain(page);
  pages_.push_back(page);
}

void PageTable::shrink(int64_t num_tokens) {
  const auto num_pages = static_cast<size_t>(pool_->num_pages_for(num_tokens));
  while (pages_.size() > num_pages) {
    pool_->release(pages_.back());
    pages_.pop_back();
  }
}

int64_t PageTable::slot(int64_t position) const {
  FATHOM_DCHECK(position >= 0 && position < capacity(), "position {} capacity {}", position, capacity());
  const int64_t block_size = pool_->block_size();
  return pages_[static_cast<size_t>(position / block_size)] * block_size + position % block_size;
}

}  // namespace fathom
