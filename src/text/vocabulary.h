// The tokens by id: how tokenizer.json spells each, the bytes it stands for, and the way back. Ids are
// [0, size()), each with exactly one token. Not for merging (text/bpe.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"

namespace fathom {

// Immutable after create(): any number of threads.
class Vocabulary {
 public:
  struct Token {
    std::string spelling;   // well-formed UTF-8, not empty
    bool in_model = false;  // one that BPE can make, not only an added token
  };
  // tokens[id]. Two ids with one spelling are an error.
  static Result<Vocabulary> create(std::vector<Token> tokens);
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  bool contains(int32_t id) const { return id >= 0 && id < size(); }

  // Precondition for both: contains(id). The views live as long as the vocabulary.
  std::string_view spelling(int32_t id) const { return tokens_[static_cast<size_t>(id)].spelling; }
  // What the token adds to the text; a spelling outside the byte alphabet stands for itself.
  std::string_view bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }
  bool in_model(int32_t id) const { return tokens_[static_cast<size_t>(id)].in_model; }

  std::optional<int32_t> find(std::string_view spelling) const;
  // Among the tokens of the model that are spelled in the byte alphabet: those that BPE can make.
  std::optional<int32_t> find_bytes(std::string_view bytes) const;

 private:
  Vocabulary() = default;
  void index_bytes(int32_t id);
  size_t slot_of(std::string_view bytes) const;

  std::vector<Token> tokens_;
  std::vector<std::string> bytes_;
  std::unordered_map<std::string_view, int32_t> by_spelling_;  // views into tokens_
  std::vector<int32_t> byte_slots_;  // open addressing, power of two, at most half full; -1: free
};

}  // namespace fathom
