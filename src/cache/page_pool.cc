#include "cache/page_pool.h"

#include "base/check.h"
#include "base/checked_math.h"

namespace fathom {

PagePool::PagePool(int32_t num_pages, int32_t block_size) : block_size_(block_size) {
  FATHOM_CHECK(num_pages >= 1, "num_pages {}", num_pages);
  FATHOM_CHECK(block_size >= 1, "block_size {}", block_size);
  pages_.resize(static_cast<size_t>(num_pages) + 1);
  pages_.back().previous = pages_.back().next = ring();
  for (PageId page = num_pages - 1; page >= 0; --page) enter_line(page);
}

PagePool::~PagePool() { FATHOM_CHECK(num_used() == 0, "{} of {} pages still held", num_used(), num_pages()); }

int64_t PagePool::num_pages_for(int64_t num_tokens) const {
  FATHOM_DCHECK(num_tokens >= 0, "num_tokens {}", num_tokens);
  return ceil_div(num_tokens, block_size_);
}

const PagePool::Page& PagePool::at(PageId page) const {
  FATHOM_CHECK(page >= 0 && page < num_pages(), "page {} of {}", page, num_pages());
  return pages_[static_cast<size_t>(page)];
}

// Blank pages in front, the others behind: so each kind stays together.
void PagePool::enter_line(PageId page) {
  Page& entering = at(page);
  const auto link = [this](PageId before, PageId after) {
    pages_[static_cast<size_t>(before)].next = after;
    pages_[static_cast<size_t>(after)].previous = before;
  };
  if (entering.content == PageContent::kBlank) {
    link(page, pages_.back().next);
    link(ring(), page);
    ++num_blank_;
  } else {
    link(pages_.back().previous, page);
    link(page, ring());
  }
  ++num_free_;
}

void PagePool::leave_line(PageId page) {
  Page& leaving = at(page);
  pages_[static_cast<size_t>(leaving.previous)].next = leaving.next;
  pages_[static_cast<size_t>(leaving.next)].previous = leaving.previous;
  leaving.previous = leaving.next = kNotInLine;
  --num_free_;
  num_blank_ -= leaving.content == PageContent::kBlank ? 1 : 0;
}

std::optional<PageId> PagePool::allocate() {
  if (num_free_ == 0) return std::nullopt;
  const PageId page = pages_.back().next;
  Page& taken = at(page);
  FATHOM_CHECK(taken.num_holders == 0, "free page {} has {} holders", page, taken.num_holders);
  leave_line(page);
  taken.num_holders = 1;
  if (taken.content == PageContent::kKept) {
    taken.content = PageContent::kBlank;
    ++num_evictions_;
    if (on_eviction_) on_eviction_(page);
  }
  return page;
}

void PagePool::retain(PageId page) {
  Page& retained = at(page);
  FATHOM_CHECK(retained.num_holders >= 1 || retained.content == PageContent::kKept, "page {} is free", page);
  if (retained.num_holders++ == 0) leave_line(page);
}

void PagePool::release(PageId page) {
  Page& released = at(page);
  FATHOM_CHECK(released.num_holders >= 1, "page {} is free", page);
  if (--released.num_holders == 0) enter_line(page);
}

void PagePool::set_content(PageId page, PageContent content) {
  Page& changed = at(page);
  if (changed.content == content) return;
  const bool is_free = changed.num_holders == 0;
  FATHOM_CHECK(!is_free || content == PageContent::kBlank, "page {} is free", page);
  if (is_free) leave_line(page);
  changed.content = content;
  if (is_free) enter_line(page);
}

Status PagePool::check_integrity(std::span<const PageId> held) const {
  const auto count = static_cast<size_t>(num_pages());
  std::vector<int32_t> holders(count, 0);
  for (PageId page : held) {
    if (page < 0 || page >= num_pages()) return invalid_data("held page {} of {}", page, num_pages());
    ++holders[static_cast<size_t>(page)];
  }
  std::vector<int32_t> times_free(count, 0);
  int32_t length = 0;
  int32_t num_blank = 0;
  PageContent last = PageContent::kBlank;
  for (PageId page = pages_.back().next; page != ring(); page = at(page).next) {
    if (++length > num_free_) return invalid_data("more than {} pages stand in line", num_free_);
    ++times_free[static_cast<size_t>(page)];
    if (last == PageContent::kKept && at(page).content == PageContent::kBlank)
      return invalid_data("blank page {} stands behind one with content", page);
    last = at(page).content;
    num_blank += last == PageContent::kBlank ? 1 : 0;
  }
  if (length != num_free_ || num_blank != num_blank_)
    return invalid_data("{} pages stand in line, {} of them blank; {} and {} are counted", length, num_blank,
                        num_free_, num_blank_);
  for (size_t page = 0; page < count; ++page) {
    if (pages_[page].num_holders != holders[page])
      return invalid_data("page {}: counted {} holders, has {}", page, pages_[page].num_holders,
                          holders[page]);
    const int32_t expected = holders[page] == 0 ? 1 : 0;
    if (times_free[page] != expected)
      return invalid_data("page {} with {} holders is {} times in the free list", page, holders[page],
                          times_free[page]);
  }
  return ok_status();
}

}  // namespace fathom
