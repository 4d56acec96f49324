// For tests only: small vocabularies, and whole texts through a matcher.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "constrain/constraint.h"

namespace fathom::constrain_test {

// Tokens 0 to 255 are the single bytes, then come `more`, then the end token.
struct Vocabulary {
  explicit Vocabulary(const std::vector<std::string>& more = {}) {
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    tokens.insert(tokens.end(), more.begin(), more.end());
    end_id = static_cast<int32_t>(tokens.size());
    tokens.emplace_back();
    const std::vector<std::string_view> views(tokens.begin(), tokens.end());
    trie = TokenTrie::create(views, {end_id}).value();
  }

  std::vector<std::string> tokens;
  int32_t end_id = 0;
  std::shared_ptr<const TokenTrie> trie;
};

using Compiled = std::shared_ptr<const CompiledConstraint>;
using Kind = ConstraintSpec::Kind;

inline Result<Compiled> try_compile(Kind kind, const std::string& text,
                                    const Vocabulary& vocabulary = Vocabulary()) {
  return CompiledConstraint::compile({kind, text, {}}, vocabulary.trie);
}

inline Compiled compile(Kind kind, const std::string& text, const Vocabulary& vocabulary = Vocabulary()) {
  auto compiled = try_compile(kind, text, vocabulary);
  EXPECT_TRUE(compiled.ok()) << text << "\n" << compiled.status().message();
  return compiled.ok() ? *compiled : nullptr;
}

inline std::string error_of(Kind kind, const std::string& text) {
  const auto compiled = try_compile(kind, text);
  return compiled.ok() ? "no error" : compiled.status().message();
}

// Byte by byte.
inline bool accepts(const Compiled& compiled, std::string_view text) {
  ConstraintMatcher matcher(compiled);
  for (const char c : text) {
    if (!matcher.accept(static_cast<uint8_t>(c))) return false;
  }
  return matcher.is_complete();
}

inline std::vector<uint32_t> mask_of(ConstraintMatcher& matcher, const Vocabulary& vocabulary) {
  std::vector<uint32_t> bits(vocabulary.trie->num_words() + 1, 0xffffffffu);
  const Status status = matcher.fill_mask(bits);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(bits.back(), 0u);
  return bits;
}

inline bool is_set(const std::vector<uint32_t>& bits, int32_t token) {
  return ((bits[static_cast<size_t>(token) / 32] >> (static_cast<uint32_t>(token) % 32)) & 1) != 0;
}

}  // namespace fathom::constrain_test
