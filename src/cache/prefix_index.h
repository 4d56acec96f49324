// Which pages hold the latents of which tokens: so that a sequence that begins like another one, running or
// gone, takes its pages over instead of computing them again. Bit for bit (docs/numerics.md, D1) that is only
// allowed where the latents would come out the same, and a latent depends on all tokens before it and on the
// form of attention that each of them was computed in.
//
// - A full page is found by its key, a keyed 128-bit hash of the key before it, the forms and ids of its
//   tokens; the first key comes from the salt. Nobody outside can make two keys meet; what is found is
//   compared with the tokens all the same.
// - Where no full page follows, the page with the same key before it and the longest common beginning gives
//   its first rows to a copy. A full page and a page still being filled serve alike.
//
// The index covers used pages and free ones. A page that the pool hands out anew is forgotten. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "cache/page_pool.h"
#include "cache/prefix_keys.h"

namespace fathom {

// What a sequence can take over.
struct PrefixMatch {
  std::vector<PageId> pages = {};     // whole, from the first token on
  std::optional<PageId> source = {};  // of the page that follows, to be copied
  int64_t num_copied = 0;             // of source's first tokens
  int64_t num_tokens = 0;             // all together
  int64_t num_pages_free_before = 0;  // of pages: without a holder until they are taken
};

class PrefixIndex {
 public:
  // Beginnings of fewer than min_copy_tokens >= 1 tokens are not worth a copy. The pool must outlive the
  // index, which is its eviction listener.
  PrefixIndex(PagePool& pool, int64_t min_copy_tokens);
  // No page has content afterwards.
  ~PrefixIndex();
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  // What is there of the first `limit` tokens; keys as PrefixKeys::extend() left them. Nothing is held: the
  // caller takes pages and source before anything else uses the pool.
  PrefixMatch match(std::span<const PrefixKey> keys, const TokenRun& run, int64_t limit) const;

  // Page `number` of a sequence, whose latents are computed for its first num_computed tokens, can be found
  // from now on. A page may come again when more of it is computed. One that holds what another one already
  // holds in full is not kept; nor is a beginning too short to be copied.
  void insert(PageId page, int64_t number, std::span<const PrefixKey> keys, const TokenRun& run,
              int64_t num_computed);

  // Recounts, in linear time. kInvalidData names the first page that is found where it should not be, or the
  // other way round.
  Status check_integrity() const;
  // For tests: the page's content, if it has any, is the beginning of page `number` of this sequence.
  Status check_page(PageId page, int64_t number, std::span<const PrefixKey> keys, const TokenRun& run) const;

 private:
  // A page's tokens, or those looked for, behind what `before` stands for.
  struct Beginning {
    PrefixKey before;
    TokenRun run;
  };
  struct Entry {
    PrefixKey before = {};
    PrefixKey key = {};        // of a full page
    int64_t num_tokens = 0;    // 0: not in the index
    int64_t num_expanded = 0;  // of these
  };
  // By the key before them, then by tokens and forms in dictionary order: so the longest common beginning is
  // found next to where a page would stand.
  struct DictionaryOrder {
    using is_transparent = void;
    const PrefixIndex* index;
    bool operator()(PageId a, PageId b) const;
    bool operator()(PageId page, const Beginning& wanted) const;
  };

  static int64_t num_common(const TokenRun& a, const TokenRun& b);
  static int compare(const Beginning& a, const Beginning& b);
  Beginning beginning(PageId page) const;
  void find_source(const Beginning& wanted, PrefixMatch& match) const;
  void forget(PageId page);

  PagePool* pool_;
  int64_t min_copy_tokens_;
  std::vector<Entry> entries_;   // [num_pages]
  std::vector<int32_t> tokens_;  // [num_pages, block_size]
  std::unordered_map<PrefixKey, PageId> full_;
  std::set<PageId, DictionaryOrder> sources_;  // pages with at least min_copy_tokens tokens
};

}  // namespace fathom
