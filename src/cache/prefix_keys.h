// What the beginnings of sequences are known by. One for all indexes that the same sequences are looked up
// in.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/keyed_hash.h"

namespace fathom {

// A sequence's known tokens, and how many from the first on are computed in the expanded form; the others in
// the absorbed one.
struct TokenRun {
  std::span<const int32_t> tokens = {};
  int64_t num_expanded = 0;

  TokenRun part(int64_t begin, int64_t end) const;
};

using PrefixKey = Hash128;

// One thread at a time.
class PrefixKeys {
 public:
  PrefixKeys(KeyedHash hash, int64_t block_size) : hash_(std::move(hash)), block_size_(block_size) {}

  // The key that stands before a sequence's first page: of its salt, so that users with different salts share
  // nothing, nor learn from the time an answer takes what others have asked.
  PrefixKey root(std::string_view salt);
  // keys[i] stands before page i, keys[0] being the root; appends those that the known tokens' full pages
  // give.
  void extend(std::vector<PrefixKey>& keys, const TokenRun& run);

 private:
  KeyedHash hash_;
  int64_t block_size_;
};

}  // namespace fathom
