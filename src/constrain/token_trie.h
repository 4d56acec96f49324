// The tokens of a vocabulary by their bytes, for asking which of them may come next.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/tokenizer.h"

namespace fathom {

// Immutable: any number of threads, any number of constraints.
class TokenTrie {
 public:
  // In depth-first order: a node's first child, if it has one, comes right after it.
  struct Node {
    uint32_t after;        // the first node that is not below this one
    uint32_t first_token;  // its tokens are tokens()[first_token, next node's first_token)
    uint32_t depth : 24;   // bytes from the root, which is node 0
    uint32_t byte : 8;
  };
  // Longer tokens are refused.
  static constexpr size_t kMaxTokenBytes = 4096;

  // token_bytes: [vocabulary], by id; an empty one is never allowed in a text. end_ids: tokens that end a
  // text, at least one, all in [0, vocabulary), whose bytes do not count.
  static Result<std::shared_ptr<const TokenTrie>> create(std::span<const std::string_view> token_bytes,
                                                         std::vector<int32_t> end_ids);
  // The tokenizer's own tokens; special and other added ones are left out.
  static Result<std::shared_ptr<const TokenTrie>> create(const Tokenizer& tokenizer,
                                                         std::vector<int32_t> end_ids);

  size_t vocabulary() const { return offsets_.size() - 1; }
  // Of a mask with a bit for each id.
  size_t num_words() const { return (vocabulary() + 31) / 32; }
  std::span<const int32_t> end_ids() const { return end_ids_; }
  bool is_end(int32_t id) const;
  // The bytes of a token that is in the trie; empty for all other ids.
  std::string_view bytes(int32_t id) const;

  // The last node is a sentinel: no token, depth 0.
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> tokens() const { return tokens_; }

 private:
  TokenTrie() = default;

  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> end_ids_;
  std::string texts_;
  std::vector<size_t> offsets_;  // [vocabulary + 1] into texts_
};

}  // namespace fathom
