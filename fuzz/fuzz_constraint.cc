// Any bytes as a constraint, the first one saying of which kind: an error, or a constraint whose masks say
// what its matcher accepts, and which never comes to a dead end.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "constrain/constraint.h"

namespace fathom {
namespace {

// All single bytes and some longer tokens.
std::shared_ptr<const TokenTrie> make_trie() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* more : {"\":", "{\"", "\"}", "]]", ", ", "ab", "00", "\xe4\xbd", "\xa0]"})
    tokens.emplace_back(more);
  tokens.emplace_back();
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  return TokenTrie::create(views, {static_cast<int32_t>(tokens.size()) - 1}).value();
}

void walk(const std::shared_ptr<const CompiledConstraint>& constraint, const TokenTrie& trie) {
  ConstraintMatcher matcher(constraint);
  std::vector<uint32_t> bits(trie.num_words());
  for (uint64_t step = 0; step < 30; ++step) {
    if (!matcher.fill_mask(bits).ok()) return;
    std::vector<int32_t> allowed;
    for (int32_t token = 0; token < static_cast<int32_t>(trie.vocabulary()); ++token) {
      ConstraintMatcher copy = matcher;
      const bool is_set = (bits[static_cast<size_t>(token) / 32] >> (token % 32) & 1) != 0;
      const bool is_accepted = copy.accept(token);
      if (!copy.status().ok()) return;
      FATHOM_CHECK(is_set == is_accepted, "token {}: {} {}", token, is_set, is_accepted);
      if (is_set) allowed.push_back(token);
    }
    FATHOM_CHECK(!allowed.empty(), "a dead end");
    const std::string forced = matcher.forced_bytes();
    FATHOM_CHECK(forced.empty() || std::find(allowed.begin(), allowed.end(),
                                             static_cast<uint8_t>(forced[0])) != allowed.end(),
                 "{} forced bytes", forced.size());
    if (!matcher.accept(allowed[random_bits(step, allowed.size()) % allowed.size()])) return;
  }
}

}  // namespace
}  // namespace fathom

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fathom;
  if (size == 0) return 0;
  static const auto trie = make_trie();
  using Kind = ConstraintSpec::Kind;
  constexpr Kind kKinds[] = {Kind::kRegex, Kind::kJsonSchema, Kind::kGrammar};
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto constraint = CompiledConstraint::compile({kKinds[data[0] % 3], text, {}}, trie);
  if (constraint.ok()) walk(*constraint, *trie);
  return 0;
}
