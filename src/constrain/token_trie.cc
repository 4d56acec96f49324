#include "constrain/token_trie.h"

#include <algorithm>

namespace fathom {

Result<std::shared_ptr<const TokenTrie>> TokenTrie::create(std::span<const std::string_view> token_bytes,
                                                           std::vector<int32_t> end_ids) {
  if (end_ids.empty()) return invalid_argument("a constraint needs an end-of-text token");
  for (const int32_t id : end_ids) {
    if (id < 0 || static_cast<size_t>(id) >= token_bytes.size()) {
      return invalid_argument("end token {} is outside the vocabulary of {}", id, token_bytes.size());
    }
  }
  std::shared_ptr<TokenTrie> trie(new TokenTrie);
  trie->end_ids_ = std::move(end_ids);
  trie->offsets_.push_back(0);
  for (size_t i = 0; i < token_bytes.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    if (token_bytes[i].size() > kMaxTokenBytes) {
      return invalid_argument("token {} of {} bytes is over the limit of {}", id, token_bytes[i].size(),
                              kMaxTokenBytes);
    }
    if (!token_bytes[i].empty() && !trie->is_end(id)) {
      trie->texts_ += token_bytes[i];
      trie->tokens_.push_back(id);
    }
    trie->offsets_.push_back(trie->texts_.size());
  }
  std::stable_sort(trie->tokens_.begin(), trie->tokens_.end(),
                   [&trie](int32_t a, int32_t b) { return trie->bytes(a) < trie->bytes(b); });
  std::vector<Node>& nodes = trie->nodes_;
  nodes.push_back({});
  std::vector<size_t> path(1, 0);  // the nodes from the root to the last token
  std::string_view last;
  for (size_t t = 0; t < trie->tokens_.size(); ++t) {
    const std::string_view bytes = trie->bytes(trie->tokens_[t]);
    const size_t shared = static_cast<size_t>(
        std::mismatch(bytes.begin(), bytes.end(), last.begin(), last.end()).first - bytes.begin());
    for (; path.size() > shared + 1; path.pop_back()) nodes[path.back()].after = nodes.size();
    for (size_t i = shared; i < bytes.size(); ++i) {
      path.push_back(nodes.size());
      nodes.push_back({0, static_cast<uint32_t>(t), static_cast<uint32_t>(i + 1) & 0xffffffu,
                       static_cast<uint8_t>(bytes[i])});
    }
    last = bytes;
  }
  for (const size_t node : path) nodes[node].after = static_cast<uint32_t>(nodes.size());
  nodes.push_back(
      {static_cast<uint32_t>(nodes.size() + 1), static_cast<uint32_t>(trie->tokens_.size()), 0, 0});
  return std::shared_ptr<const TokenTrie>(std::move(trie));
}

Result<std::shared_ptr<const TokenTrie>> TokenTrie::create(const Tokenizer& tokenizer,
                                                           std::vector<int32_t> end_ids) {
  std::vector<std::string_view> token_bytes(static_cast<size_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.in_model(id) && !tokenizer.is_special(id)) {
      token_bytes[static_cast<size_t>(id)] = tokenizer.token_bytes(id);
    }
  }
  return create(token_bytes, std::move(end_ids));
}

bool TokenTrie::is_end(int32_t id) const {
  return std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end();
}

std::string_view TokenTrie::bytes(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= vocabulary()) return {};
  const auto index = static_cast<size_t>(id);
  return std::string_view(texts_).substr(offsets_[index], offsets_[index + 1] - offsets_[index]);
}

}  // namespace fathom
