// The pool of cache pages as integers: which page ids are free, how many holders each used one has, and whose
// content is kept for reuse. Not the memory itself: a page id names the same place in every layer's cache
// buffer, which the device owns. One thread owns a pool. All operations take constant time.
//
// A page may keep its content after its last holder has left (cache/prefix_index.h knows what it is). It is
// free then all the same. Free pages stand in one line, the order in which they are taken: blank ones first,
// the one freed last before the others, since it is warm; then those with content, least recently used first.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"

namespace fathom {

using PageId = int32_t;

// Tokens in a page, unless configured: the seed system's page size.
inline constexpr int32_t kDefaultBlockSize = 128;

enum class PageContent : uint8_t { kBlank, kKept };

class PagePool {
 public:
  // num_pages >= 1 pages of block_size >= 1 tokens, all free and blank.
  explicit PagePool(int32_t num_pages, int32_t block_size = kDefaultBlockSize);
  // Checks that every page came home.
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  int32_t num_pages() const { return static_cast<int32_t>(pages_.size()) - 1; }
  int32_t block_size() const { return block_size_; }
  int32_t num_free() const { return num_free_; }
  // Free pages without content: so many can be taken before content is lost.
  int32_t num_blank() const { return num_blank_; }
  int32_t num_used() const { return num_pages() - num_free(); }
  // Pages taken that still had content, since the start.
  int64_t num_evictions() const { return num_evictions_; }
  // Tokens that all pages together hold.
  int64_t capacity() const { return int64_t{num_pages()} * block_size_; }
  // Pages that num_tokens >= 0 tokens of one sequence fill.
  int64_t num_pages_for(int64_t num_tokens) const;

  // Called with each page whose content is lost because it is taken; at most one listener, {} for none.
  void set_eviction_listener(std::function<void(PageId)> listener) { on_eviction_ = std::move(listener); }

  // The first free page in line, now blank and with one holder; nullopt when none is free.
  [[nodiscard]] std::optional<PageId> allocate();
  // One more holder of a page that is used or has content.
  void retain(PageId page);
  // One holder less; without holders the page is free.
  void release(PageId page);

  // Whether the page's content is worth keeping, of a used or a free page. A free page that turns blank is
  // taken next. A free page has nothing to keep: kKept is for used ones.
  void set_content(PageId page, PageContent content);
  PageContent content(PageId page) const { return at(page).content; }
  int32_t num_holders(PageId page) const { return at(page).num_holders; }

  // Recounts everything, in linear time. `held` lists the pages of all holders, a page once per holder, in
  // any order. kInvalidData names the first page whose count is wrong, that is free and used at once, or that
  // stands in the wrong place.
  Status check_integrity(std::span<const PageId> held) const;

 private:
  struct Page {
    int32_t num_holders = 0;
    PageContent content = PageContent::kBlank;
    // The neighbours in the line of free pages, a ring through the element after the last page; kNotInLine of
    // used pages.
    PageId previous = kNotInLine;
    PageId next = kNotInLine;
  };
  static constexpr PageId kNotInLine = -1;

  const Page& at(PageId page) const;
  Page& at(PageId page) { return const_cast<Page&>(static_cast<const PagePool*>(this)->at(page)); }
  PageId ring() const { return num_pages(); }
  void enter_line(PageId page);
  void leave_line(PageId page);

  int32_t block_size_;
  int32_t num_free_ = 0;
  int32_t num_blank_ = 0;  // of these
  int64_t num_evictions_ = 0;
  std::vector<Page> pages_;  // [num_pages + 1]
  std::function<void(PageId)> on_eviction_;
};

}  // namespace fathom
