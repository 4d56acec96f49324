#include "cache/prefix_keys.h"

#include <algorithm>

namespace fathom {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// What a key is made of comes first in it, so that a salt never reads like a page.
enum class KeyKind : uint8_t { kRoot, kPage };

}  // namespace

TokenRun TokenRun::part(int64_t begin, int64_t end) const {
  return {.tokens = tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
          .num_expanded = std::clamp<int64_t>(num_expanded - begin, 0, end - begin)};
}

PrefixKey PrefixKeys::root(std::string_view salt) {
  return hash_({bytes_of(KeyKind::kRoot), std::as_bytes(std::span(salt))});
}

void PrefixKeys::extend(std::vector<PrefixKey>& keys, const TokenRun& run) {
  const auto num_full = static_cast<int64_t>(run.tokens.size()) / block_size_;
  for (auto i = static_cast<int64_t>(keys.size()) - 1; i < num_full; ++i) {
    const TokenRun page = run.part(i * block_size_, (i + 1) * block_size_);
    keys.push_back(hash_({bytes_of(KeyKind::kPage), bytes_of(keys.back()), bytes_of(page.num_expanded),
                          std::as_bytes(page.tokens)}));
  }
}

}  // namespace fathom
