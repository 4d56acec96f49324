#include "cache/prefix_index.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace fathom {
PrefixIndex::PrefixIndex(PagePool& pool, int64_t min_copy_tokens)
    : pool_(&pool),
      min_copy_tokens_(min_copy_tokens),
      entries_(static_cast<size_t>(pool.num_pages())),
      tokens_(static_cast<size_t>(pool.capacity())),
      sources_(DictionaryOrder{this}) {
  FATHOM_CHECK(min_copy_tokens >= 1, "min_copy_tokens {}", min_copy_tokens);
  pool_->set_eviction_listener([this](PageId page) { forget(page); });
}

PrefixIndex::~PrefixIndex() {
  pool_->set_eviction_listener({});
  for (PageId page = 0; page < pool_->num_pages(); ++page) pool_->set_content(page, PageContent::kBlank);
}

PrefixIndex::Beginning PrefixIndex::beginning(PageId page) const {
  const Entry& entry = entries_[static_cast<size_t>(page)];
  const int32_t* first = tokens_.data() + int64_t{page} * pool_->block_size();
  return {
      .before = entry.before,
      .run = {.tokens = {first, static_cast<size_t>(entry.num_tokens)}, .num_expanded = entry.num_expanded}};
}

// The forms of two runs part where the shorter expanded part ends, unless it is the end of its run.
int64_t PrefixIndex::num_common(const TokenRun& a, const TokenRun& b) {
  const auto first = std::mismatch(a.tokens.begin(), a.tokens.end(), b.tokens.begin(), b.tokens.end()).first;
  const int64_t num_tokens = first - a.tokens.begin();
  return a.num_expanded == b.num_expanded ? num_tokens
                                          : std::min({num_tokens, a.num_expanded, b.num_expanded});
}

int PrefixIndex::compare(const Beginning& a, const Beginning& b) {
  if (a.before != b.before) return a.before < b.before ? -1 : 1;
  const int64_t common = num_common(a.run, b.run);
  const auto at = static_cast<size_t>(common);
  if (at == a.run.tokens.size() || at == b.run.tokens.size()) {
    if (a.run.tokens.size() == b.run.tokens.size()) return 0;
    return a.run.tokens.size() < b.run.tokens.size() ? -1 : 1;
  }
  if (a.run.tokens[at] != b.run.tokens[at]) return a.run.tokens[at] < b.run.tokens[at] ? -1 : 1;
  return common < a.run.num_expanded ? -1 : 1;  // expanded before absorbed
}

bool PrefixIndex::DictionaryOrder::operator()(PageId a, PageId b) const {
  const int order = compare(index->beginning(a), index->beginning(b));
  return order != 0 ? order < 0 : a < b;
}

bool PrefixIndex::DictionaryOrder::operator()(PageId page, const Beginning& wanted) const {
  return compare(index->beginning(page), wanted) < 0;
}

PrefixMatch PrefixIndex::match(std::span<const PrefixKey> keys, const TokenRun& run, int64_t limit) const {
  PrefixMatch match;
  const int64_t block_size = pool_->block_size();
  int64_t begin = 0;
  for (size_t i = 0; begin + block_size <= limit; ++i, begin += block_size) {
    const auto found = full_.find(keys[i + 1]);
    if (found == full_.end()) break;
    const Beginning wanted{keys[i], run.part(begin, begin + block_size)};
    if (compare(beginning(found->second), wanted) != 0) break;
    match.pages.push_back(found->second);
    match.num_pages_free_before += pool_->num_holders(found->second) == 0 ? 1 : 0;
  }
  const int64_t end = std::min(limit, begin + block_size);
  find_source({keys[match.pages.size()], run.part(begin, end)}, match);
  match.num_tokens = begin + match.num_copied;
  return match;
}

void PrefixIndex::find_source(const Beginning& wanted, PrefixMatch& match) const {
  const auto after = sources_.lower_bound(wanted);
  const auto consider = [&](PageId page) {
    const Beginning candidate = beginning(page);
    if (candidate.before != wanted.before) return;
    const int64_t common = num_common(candidate.run, wanted.run);
    if (common < std::max(min_copy_tokens_, match.num_copied + 1)) return;
    match.source = page;
    match.num_copied = common;
  };
  if (after != sources_.end()) consider(*after);
  if (after != sources_.begin()) consider(*std::prev(after));
}

void PrefixIndex::insert(PageId page, int64_t number, std::span<const PrefixKey> keys, const TokenRun& run,
                         int64_t num_computed) {
  const int64_t begin = number * pool_->block_size();
  const int64_t end = std::min(begin + pool_->block_size(), num_computed);
  const bool is_full = end - begin == pool_->block_size();
  Entry& entry = entries_[static_cast<size_t>(page)];
  if (entry.num_tokens == end - begin) return;
  forget(page);
  const auto before = static_cast<size_t>(number);
  const bool is_known = is_full && full_.contains(keys[before + 1]);
  const bool is_too_short = !is_full && end - begin < min_copy_tokens_;
  pool_->set_content(page, is_known || is_too_short ? PageContent::kBlank : PageContent::kKept);
  if (is_known || is_too_short) return;

  const Beginning part{keys[before], run.part(begin, end)};
  std::copy(part.run.tokens.begin(), part.run.tokens.end(),
            tokens_.begin() + int64_t{page} * pool_->block_size());
  entry = {.before = part.before, .num_tokens = end - begin, .num_expanded = part.run.num_expanded};
  if (is_full) {
    entry.key = keys[before + 1];
    full_.emplace(entry.key, page);
  }
  if (entry.num_tokens >= min_copy_tokens_) sources_.insert(page);
}

void PrefixIndex::forget(PageId page) {
  Entry& entry = entries_[static_cast<size_t>(page)];
  if (entry.num_tokens == 0) return;
  if (entry.num_tokens >= min_copy_tokens_) sources_.erase(page);
  if (entry.num_tokens == pool_->block_size()) full_.erase(entry.key);
  entry = Entry();
}

Status PrefixIndex::check_integrity() const {
  size_t num_full = 0;
  size_t num_sources = 0;
  for (PageId page = 0; page < pool_->num_pages(); ++page) {
    const Entry& entry = entries_[static_cast<size_t>(page)];
    if ((pool_->content(page) == PageContent::kKept) != (entry.num_tokens > 0))
      return invalid_data("page {}: {} tokens indexed, and the pool disagrees", page, entry.num_tokens);
    const bool is_full = entry.num_tokens == pool_->block_size();
    const bool is_source = entry.num_tokens >= min_copy_tokens_;
    num_full += is_full ? 1 : 0;
    num_sources += is_source ? 1 : 0;
    if (is_full && (!full_.contains(entry.key) || full_.at(entry.key) != page))
      return invalid_data("page {} is full and not found by its key", page);
    if (is_source && !sources_.contains(page))
      return invalid_data("page {} of {} tokens is not among the sources", page, entry.num_tokens);
  }
  if (num_full != full_.size() || num_sources != sources_.size())
    return invalid_data("{} full pages and {} sources, {} and {} indexed", num_full, num_sources,
                        full_.size(), sources_.size());
  return ok_status();
}

Status PrefixIndex::check_page(PageId page, int64_t number, std::span<const PrefixKey> keys,
                               const TokenRun& run) const {
  const int64_t begin = number * pool_->block_size();
  const int64_t end = begin + entries_[static_cast<size_t>(page)].num_tokens;
  if (end == begin) return ok_status();
  if (end > static_cast<int64_t>(run.tokens.size()))
    return invalid_data("page {} has tokens indexed that position {} does not know", page, begin);
  const Beginning expected{keys[static_cast<size_t>(number)], run.part(begin, end)};
  if (compare(beginning(page), expected) != 0)
    return invalid_data("page {} is not indexed as what it holds at position {}", page, begin);
  return ok_status();
}

}  // namespace fathom
