#include "engine/draft_rows.h"

#include <algorithm>

namespace fathom {

int64_t DraftRows::num_known(std::span<const PageId> pages, int64_t limit) const {
  int64_t known = 0;
  for (PageId page : pages) {
    const int64_t rows = rows_[static_cast<size_t>(page)];
    known += rows;
    if (rows < block_size_ || known >= limit) break;
  }
  return std::min(known, limit);
}

void DraftRows::learn(std::span<const PageId> pages, int64_t begin, int64_t end) {
  for (int64_t position = begin; position < end;) {
    const int64_t page_begin = position / block_size_ * block_size_;
    const int64_t stop = std::min(end, page_begin + block_size_);
    int32_t& rows = rows_[static_cast<size_t>(pages[static_cast<size_t>(position / block_size_)])];
    rows = std::max(rows, static_cast<int32_t>(stop - page_begin));
    position = stop;
  }
}

void DraftRows::forget(std::span<const PageId> pages, int64_t begin, int64_t end) {
  for (int64_t position = begin; position < end; position = (position / block_size_ + 1) * block_size_) {
    int32_t& rows = rows_[static_cast<size_t>(pages[static_cast<size_t>(position / block_size_)])];
    rows = std::min(rows, static_cast<int32_t>(position % block_size_));
  }
}

int64_t DraftRows::copy(const PageCopy& copy) {
  const int64_t known = std::min<int64_t>(copy.num_tokens, rows_[static_cast<size_t>(copy.from)]);
  rows_[static_cast<size_t>(copy.to)] = static_cast<int32_t>(known);
  return known;
}

}  // namespace fathom
